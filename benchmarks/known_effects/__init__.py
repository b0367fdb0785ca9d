"""Programmes with a planted effect, evaluated by the register's designs: how often is the truth inside the interval?"""
