const nav = document.querySelector("nav");
const field = nav.querySelector("input");
const contents = nav.querySelector(".contents");
const found = nav.querySelector(".found");
const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.getAttribute("href").slice(1), a]));

function search() {
  const words = field.value.trim().toLowerCase();
  for (const item of contents.children) {
    item.hidden = words !== "" && !item.textContent.toLowerCase().includes(words);
  }
  const hits = words === "" ? [] : NAMES.filter(([name]) => name.toLowerCase().includes(words)).slice(0, 60);
  found.replaceChildren(...hits.map(([name, anchor]) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = "#" + anchor;
    link.textContent = name;
    item.append(link);
    return item;
  }));
}
field.addEventListener("input", search);

const headings = [...document.querySelectorAll("main :is(h2, h3, h4, h5)[id]")];
let here = null;
function follow() {
  let low = 0;
  let high = headings.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (headings[middle].getBoundingClientRect().top < 80) low = middle + 1;
    else high = middle;
  }
  const link = links.get(headings[Math.max(0, low - 1)].id);
  if (!link || link === here) return;
  here?.classList.remove("here");
  here = link;
  here.classList.add("here");
  const top = here.offsetTop - nav.offsetTop;
  if (top < nav.scrollTop + 60 || top > nav.scrollTop + nav.clientHeight - 60) {
    nav.scrollTop = top - nav.clientHeight / 3;
  }
}
document.addEventListener("scroll", follow, { passive: true });
follow();
