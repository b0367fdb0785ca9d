// Search of these pages, in the browser, from an index that lies beside them. Without it every page still reads.
"use strict";

(() => {
  const form = document.querySelector(".preview-search");
  const results = document.getElementById("preview-results");
  if (!form || !results) return;
  const input = form.querySelector("input");
  const status = results.querySelector("[role=status]");
  const list = results.querySelector("ul");
  const limit = 10;
  let loading = null;

  // A script, not a request, so that it also works where pages are opened from a folder.
  const load = () => {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = form.dataset.index;
      script.onload = () => resolve(window.sendapSearchIndex);
      script.onerror = reject;
      document.head.append(script);
    });
    return loading;
  };

  const plain = (text) => text.toLocaleLowerCase("en-GB").normalize("NFKD");

  const score = (page, words) => {
    let sum = 0;
    for (const word of words) {
      const inTitle = plain(page.title).includes(word);
      const inHeadings = page.headings.some(([text]) => plain(text).includes(word));
      const inText = plain(page.text).includes(word);
      if (!inTitle && !inHeadings && !inText) return 0;
      sum += (inTitle ? 10 : 0) + (inHeadings ? 4 : 0) + (inText ? 1 : 0);
    }
    return sum;
  };

  const around = (page, word) => {
    const at = plain(page.text).indexOf(word);
    if (at < 0) return "";
    const start = Math.max(0, at - 60);
    return (start ? "… " : "") + page.text.slice(start, at + 100).trim() + " …";
  };

  const entry = (page, words) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const heading = page.headings.find(([text]) => words.every((word) => plain(text).includes(word)));
    link.href = `${form.dataset.root}/${page.href}${heading ? `#${heading[1]}` : ""}`;
    link.textContent = heading ? `${page.title}: ${heading[0]}` : page.title;
    const excerpt = document.createElement("span");
    excerpt.textContent = around(page, words[0]);
    item.append(link, excerpt);
    return item;
  };

  const show = async () => {
    const words = plain(input.value).split(/\s+/).filter(Boolean);
    list.replaceChildren();
    results.hidden = words.length === 0;
    if (words.length === 0) return;
    let index;
    try {
      index = await load();
    } catch {
      status.textContent = "The search index couldn't be read. All pages are listed at the foot of the page.";
      return;
    }
    const found = index
      .map((page) => [score(page, words), page])
      .filter(([value]) => value > 0)
      .sort((left, right) => right[0] - left[0])
      .slice(0, limit);
    list.replaceChildren(...found.map(([, page]) => entry(page, words)));
    status.textContent = found.length === 1 ? "1 page found" : `${found.length || "No"} pages found`;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  input.addEventListener("focus", load, { once: true });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    input.value = "";
    show();
  });
  form.hidden = false;
})();
