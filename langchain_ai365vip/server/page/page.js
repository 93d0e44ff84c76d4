// The page's conversation: asking, showing, keeping.

import { render } from "./markdown.js";

const $ = (id) => document.getElementById(id);
const log = $("log"), box = $("text"), touch = matchMedia("(hover: none) and (pointer: coarse)");
const BROKEN = "The model failed, the server's log says why";

// Each message is `{ role, content }`; an answer has its `model`, and a `note` if it is not whole.
let messages = [], running = null;
// While the last question is edited: what stood in the box before.
let draft = null;

// --- asking -----------------------------------------------------------------------------------

async function post(path, body, signal) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json", "X-AI365VIP-Page": "1" },
    body: JSON.stringify(body), signal,
  }).catch((error) => { throw inWords(error, "The server does not answer"); });
  if (answer.ok) return answer;
  if (answer.status === 401) show($("key"));
  // The endpoint's message is the body, which, unlike the reason phrase, browsers read as UTF-8.
  throw new Error(await answer.text() || `The server answered ${answer.status}`);
}

const inWords = (error, words) => error.name === "AbortError" ? error : new Error(words);

async function loadModels() {
  complain("");
  try {
    const listed = await (await post("api/models", { key: $("key").value })).json();
    const chosen = $("model").value || kept().model;
    $("model").replaceChildren(...listed.map(({ id, name }) => new Option(name, id)));
    if (listed.some(({ id }) => id === chosen)) $("model").value = chosen;
  } catch (error) {
    complain(error.message);
  }
}

// What the model is told: of an answer that is not whole also that it is not.
const wire = ({ role, content, note }) =>
  ({ role, content: note ? `${content}\n\n[${note}]` : content });

async function* replyTo(asked, signal) {
  const { value: id, text: name } = $("model").selectedOptions[0];
  const answer = await post("api/chat", {
    model: { id, name }, messages: asked.map(wire), key: $("key").value,
    prompt: $("prompt").value, temperature: $("temperature").valueAsNumber,
  }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let part; !(part = await reader.read()).done;) yield part.value;
  } catch (error) {
    throw inWords(error, BROKEN);
  }
}

// Collect the reply into `answer`, and return what went wrong.
async function receive(asked, answer) {
  try {
    for await (const part of replyTo(asked, running.signal)) {
      answer.content += part;
      drawSoon(answer);
    }
    return answer.content ? "" : "The model sent an empty reply";
  } catch (error) {
    const stopped = error.name === "AbortError";
    answer.note = stopped ? "The reply was stopped" : "The reply broke off";
    return stopped ? "" : error.message;
  }
}

// Ask, and go back to what was before if not even a part of an answer came.
async function ask(question, history) {
  const before = messages, answer = { role: "assistant", content: "", model: modelName() };
  const asked = [...history, { role: "user", content: question }];
  messages = [...asked, answer];
  complain("");
  setRunning(new AbortController());
  following = true;
  draw();
  const problem = await receive(asked, answer);
  setRunning(null);
  if (!answer.content) messages = before;
  complain(problem);
  draw();
  keep();
  // Not on touch, where a keyboard would come up, nor from a text that is selected.
  if (!touch.matches && getSelection().isCollapsed && document.activeElement.matches("body, form *"))
    box.focus();
  return Boolean(answer.content);
}

async function send() {
  const text = box.value;
  if (running || !text.trim() || !temperatureIsRight()) return;
  if (!modelName()) await loadModels();
  if (running || !modelName()) return;
  const edited = draft !== null, unsent = draft ?? "";
  const history = edited ? messages.slice(0, lastQuestion()) : messages;
  setDraft(null);
  box.value = unsent;
  if (!await ask(text, history) && box.value === unsent) {
    if (edited) setDraft(unsent);
    box.value = text;
  }
}

const modelName = () => $("model").selectedOptions[0]?.text;
const lastQuestion = () => messages.findLastIndex(({ role }) => role === "user");

function temperatureIsRight() {
  const value = $("temperature").valueAsNumber, right = value >= 0 && value <= 2;
  if (!right) {
    complain("The temperature must be a number from 0 to 2");
    show($("temperature"));
  }
  return right;
}

// --- showing ----------------------------------------------------------------------------------

const items = new WeakMap();
let frame = 0, following = true, top = 0;

function itemOf(message) {
  if (!items.has(message)) {
    const item = $("item").content.cloneNode(true).firstElementChild;
    item.className = message.role;
    item.querySelector("b").textContent = message.role === "user" ? "You" : message.model;
    items.set(message, item);
    drawMessage(message);
  }
  return items.get(message);
}

function drawMessage(message) {
  const item = items.get(message), body = item.querySelector(".body");
  if (message.role === "user") body.textContent = message.content;
  else render(body, message.content, running && message === messages.at(-1));
  item.querySelector(".note").textContent = message.note ?? "";
  follow();
}

function drawSoon(message) {
  frame ||= requestAnimationFrame(() => { frame = 0; drawMessage(message); });
}

function draw() {
  const wanted = messages.map(itemOf);
  for (const item of [...log.children]) if (!wanted.includes(item)) item.remove();
  log.append(...wanted.filter((item) => !item.isConnected));
  if (messages.length) drawMessage(messages.at(-1));
}

// Whoever goes up stays there, and whoever comes back to the end follows again.
log.onscroll = () => {
  const atEnd = log.scrollHeight - log.clientHeight - log.scrollTop <= 1; // it is rounded
  if (atEnd) following = true;
  else if (log.scrollTop < top) following = false;
  top = log.scrollTop;
};
function follow() {
  if (!following) return;
  log.scrollTop = log.scrollHeight;
  top = log.scrollTop; // one event tells of this and of whoever scrolls up in the same frame
}
new ResizeObserver(follow).observe(log);

function setRunning(controller) {
  running = controller;
  $("stop").disabled = !controller;
  if (controller && document.activeElement === $("send")) $("stop").focus();
  $("send").disabled = $("new").disabled = Boolean(controller);
  log.setAttribute("aria-busy", String(Boolean(controller)));
}

function complain(problem) { $("error").textContent = problem; }

function show(setting) {
  $("settings").open = true;
  setting.focus();
}

// Edit the last question (`text` is what stood in the box), or leave it as it is (`null`).
function setDraft(text) {
  draft = text;
  log.querySelectorAll(".edit").forEach((button) =>
    button.setAttribute("aria-pressed", String(text !== null && button.closest("li") ===
      items.get(messages[lastQuestion()]))));
  $("status").textContent = text === null ? "" : "Editing the last question, Escape leaves it";
}

function toggleEdit() {
  const before = draft;
  setDraft(before === null ? box.value : null);
  box.value = before ?? messages[lastQuestion()].content;
  box.focus();
}

async function copy(button, text) {
  button.textContent = await written(text) ? "Copied" : "Not copied";
  $("status").textContent = button.textContent;
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

// Browsers have no clipboard for pages that come over plain HTTP from another machine.
async function written(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = document.createElement("textarea"), focused = document.activeElement;
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused.focus();
  return done;
}

log.onclick = ({ target }) => {
  const message = messages.find((one) => items.get(one).contains(target));
  if (target.matches(".code > .copy"))
    copy(target, target.parentElement.querySelector("code").textContent);
  else if (target.matches(".copy")) copy(target, message.content);
  else if (target.matches(".edit")) toggleEdit();
  else if (target.matches(".again") && temperatureIsRight()) {
    if (draft !== null) toggleEdit();
    ask(messages[lastQuestion()].content, messages.slice(0, lastQuestion()));
    $("stop").focus();
  }
};

// --- keeping: for this tab, until it is closed, and never the key -------------------------------

const kept = () => JSON.parse(sessionStorage.getItem("chat") ?? "{}");

function keep() {
  const halfway = running && messages.at(-1);
  const whole = messages.filter(({ content }) => content).map((message) =>
    message === halfway ? { ...message, note: "The reply was stopped" } : message);
  const settings = { model: $("model").value, prompt: $("prompt").value,
    temperature: $("temperature").value };
  try {
    sessionStorage.setItem("chat", JSON.stringify({ messages: whole, ...settings }));
  } catch {
    complain("This chat is too long for the browser to keep it when the page is reloaded");
  }
}

function restore() {
  const chat = kept();
  messages = chat.messages ?? [];
  $("prompt").value = chat.prompt ?? $("prompt").value;
  $("temperature").value = chat.temperature ?? $("temperature").value;
  draw();
}

// --- the page's own controls ------------------------------------------------------------------

$("form").onsubmit = (event) => {
  event.preventDefault();
  send();
};
box.onkeydown = (event) => {
  // On a touch keyboard there is no Shift+Enter, so that Enter breaks the line.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch.matches) return;
  event.preventDefault();
  send();
};
document.onkeydown = ({ key }) => {
  if (key !== "Escape") return;
  if (running) running.abort();
  else if (draft !== null) toggleEdit();
};
$("stop").onclick = () => running?.abort();
$("new").onclick = () => {
  if (draft !== null) toggleEdit();
  messages = [];
  complain("");
  draw();
  keep();
  box.focus();
};
$("key").onchange = loadModels;
// Whoever leaves in the middle of a reply stops it; the browser alone would let it break off.
addEventListener("beforeunload", () => running?.abort());
addEventListener("pagehide", keep);

box.placeholder = touch.matches ? "Message" : "Shift+Enter breaks the line";
restore();
loadModels();
