// A reply as Markdown: by marked into HTML, by DOMPurify into what may be shown of it.

const LINK = /^(?:https?:|mailto:)/i;
const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt()};`);
const link = (href, text) => `<a href="${escape(href)}">${escape(text)}</a>`;

// What is not shown as what it says stays as the text that it is: HTML, and links and
// pictures of other kinds. A picture of another site would tell it what was said.
const markdown = new marked.Marked({
  gfm: true,
  breaks: true,
  tokenizer: { html() {}, tag() {} },
  renderer: {
    link: ({ href, raw }) => LINK.test(href) ? false : escape(raw),
    image: ({ href, text, raw }) => {
      if (/^data:image\//i.test(href)) return false;
      return LINK.test(href) ? link(href, text || href) : escape(raw);
    },
    checkbox: ({ checked }) => checked ? "☑ " : "☐ ",
  },
});

const ALLOWED = {
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img",
    "li", "ol", "p", "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "#text",
  ],
  ALLOWED_ATTR: ["align", "alt", "href", "src", "start", "title"],
  FORBID_TAGS: ["style", "form"],
  FORBID_ATTR: ["style", "form", "id", "name"],
  ALLOWED_URI_REGEXP: LINK,
  ADD_URI_SAFE_ATTR: ["align", "start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.localName === "a") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
  if (node.localName === "img" && !/^data:/i.test(node.getAttribute("src"))) node.remove();
});

// HTML as nodes that may be shown, code and tables in boxes of their own that scroll.
export function clean(html) {
  const nodes = DOMPurify.sanitize(html, ALLOWED);
  for (const inner of nodes.querySelectorAll("pre, table")) {
    const box = document.createElement("div");
    inner.replaceWith(box);
    box.append(inner);
    if (inner.localName === "table") { box.className = "scroll"; continue; }
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy the code");
    box.className = "code";
    box.dir = "ltr";
    box.append(button);
  }
  return nodes;
}

// Change what is shown only where it differs, so that nothing flickers, and what is selected,
// scrolled or focused stays so while a reply grows.
function morph(shown, wanted) {
  const nodes = [...wanted.childNodes];
  nodes.forEach((node, index) => {
    const old = shown.childNodes[index];
    if (!old) shown.append(node);
    else if (old.nodeType === Node.TEXT_NODE && node.data?.startsWith(old.data))
      old.appendData(node.data.slice(old.length));
    else if (old.cloneNode().isEqualNode(node.cloneNode())) morph(old, node);
    else old.replaceWith(node);
  });
  while (shown.childNodes.length > nodes.length) shown.lastChild.remove();
}

// The beginning of a line that may yet become a list, a table's rule or a fence; as it stands
// it would make a heading of the line above, for a moment.
const UNSURE = /(^|\n)[ \t]*[-=+*#>|:`~.\d \t]*$/;
const drawn = new WeakMap();

// Each block reads from right to left or from left to right, as its first letter does.
const newBlock = () => Object.assign(document.createElement("div"), { dir: "auto" });

// Show a text in an element; `growing` says that more of it is to come.
export function render(element, text, growing) {
  const tokens = markdown.lexer(growing ? text.replace(UNSURE, "") : text);
  const blocks = tokens.map((token) => markdown.parser([token])).filter(Boolean);
  blocks.forEach((html, index) => {
    const block = element.children[index] ?? element.appendChild(newBlock());
    if (drawn.get(block) === html) return;
    drawn.set(block, html);
    morph(block, clean(html));
  });
  while (element.children.length > blocks.length) element.lastChild.remove();
}
