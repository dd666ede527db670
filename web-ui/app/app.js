// The page of `pictor serve`: one search box, one grid. No framework and no build step; what it knows of a search is in the
// address (?q=, mode=, like=, filter=, rerank=), so that links and the back button work. An image that was dropped in has no address: it is
// held here, and goes when the page goes.

const $ = (id) => document.getElementById(id);
const [form, query, mode, filter, rerank, results, status, warnings, message, more] =
  ["form", "query", "mode", "filter", "rerank", "results", "status", "warnings", "message", "more"].map($);

const PAGE = 48; // tiles asked for at first, and with each "Show more"
const MAX_K = 1000; // the server's limit
const THUMB_SIDE = 480; // twice the height of a row: sharp on dense screens
const MAX_IMAGE_BYTES = 16 * 1024 * 1024; // the server's limit

let info = null; // what the server says of its index
let image = null; // image to search by: { base64, url }
let running = null; // AbortController of the search on its way
let k = PAGE;

const count = (n) => n.toLocaleString("en");
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
const fileName = (uri) => uri.split(/[\\/]/).pop();

// ---- what is asked, and the address ----

const asked = () => {
  const address = new URLSearchParams(location.search);
  const text = (name, otherwise = "") => address.get(name) ?? otherwise;
  return { q: text("q"), mode: text("mode", "vector"), like: address.get("like"), filter: text("filter"), again: address.has("rerank") };
};

function go({ q = "", like = null }) {
  const address = new URLSearchParams();
  if (q) address.set("q", q);
  if (mode.value !== "vector") address.set("mode", mode.value);
  if (like !== null) address.set("like", like);
  if (rerank.checked) address.set("rerank", "1");
  if (filter.value.trim()) address.set("filter", filter.value.trim());
  const search = address.size ? `?${address}` : "";
  if (search !== location.search) history.pushState(null, "", search || location.pathname);
  k = PAGE;
  run();
}

/** What the chip in the search box shows: the image that was dropped, or the one whose like is looked for. */
function showChip(like) {
  const source = like === null ? (image?.url ?? null) : `/api/thumb/${like}?side=96`;
  $("chip").hidden = source === null;
  query.placeholder = source === null ? "Describe a photo, or drop one here" : "Add words, if you like";
  if (source !== null) $("chip-image").src = source;
}

// ---- searching ----

async function call(path, body) {
  running?.abort();
  running = new AbortController();
  const options = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...options, signal: running.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `pictor serve` still running?");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `The server answered with status ${response.status}.`);
  return answer;
}

async function run({ keep = false } = {}) {
  const { q, mode: by, like, filter: condition, again } = asked();
  query.value = q;
  mode.value = by;
  filter.value = condition;
  rerank.checked = again;
  document.title = q ? `${q} – Pictor` : "Pictor";
  showChip(like);
  if (!q && like === null && !image) return start();

  document.body.classList.add("busy");
  try {
    const body = { k, mode: by };
    if (q) body.text = q;
    if (condition) body.filter = condition;
    if (again && q && info?.matcher) body.rerank = info.matcher.rerank; // it compares words with photos
    if (like !== null) body.like = Number(like);
    else if (image) body.image = image.base64;
    show(await call("/api/search", body), by, keep);
  } catch (error) {
    if (error.name === "AbortError") return; // a newer search took over, and will say when it is done
    results.replaceChildren();
    status.textContent = "";
    warn([]);
    more.hidden = true;
    say("That did not work", [error.message], true);
  }
  document.body.classList.remove("busy");
}

function start() {
  running?.abort();
  document.body.classList.remove("busy");
  results.replaceChildren();
  more.hidden = true;
  warn([]);
  status.textContent = info ? `${plural(info.images, "image")} · ${info.model.name} on ${info.runtime}` : "";
  if (info?.images === 0) return say("This index is empty", ["Fill it from a terminal: pictor index PHOTOS --index DIR"]);
  say("What are you looking for?", [
    "Describe a photo in plain words, or drop, paste or pick an image to find others like it.",
    "Press / to come back to the search box.",
  ]);
}

function show({ hits, timings_ms, images, matches, reranked, warnings = [] }, by, keep) {
  const total = Math.max(timings_ms.total, 0.1);
  const time = total < 10 ? total.toFixed(1) : Math.round(total);
  const parts = [`${time} ms`];
  const all = plural(images, "image");
  parts.push(matches === undefined ? all : `${count(matches)} of ${all} match`);
  if (reranked) parts.push(`${count(reranked.scored)} of ${count(reranked.candidates)} reranked${reranked.outcome === "deadline" ? " in time" : ""}`);
  if (info) parts.push(`${info.model.name} on ${info.runtime}`);
  status.textContent = parts.join(" · ");
  warn(warnings);

  keep &&= !reranked; // one that the time cut short may come out in another order
  const shown = keep ? results.children.length : 0; // "Show more" leaves the tiles that are there as they are
  if (!keep) results.replaceChildren();
  results.append(...hits.slice(shown).map(tile));
  more.hidden = hits.length < k || k >= MAX_K;
  message.hidden = true;
  if (hits.length === 0) {
    const advice = matches === 0
      ? "No image matches the filter."
      : by === "text"
      ? "No caption and no file name has these words. Search by meaning looks at the photos themselves."
      : "The index holds no image that could answer.";
    say("Nothing found", [advice]);
  }
}

function tile(hit) {
  const item = $("tile").content.cloneNode(true).firstElementChild;
  const [link, picture, like] = ["a", "img", ".like"].map((selector) => item.querySelector(selector));
  const name = fileName(hit.uri);
  const ratio = Math.min(Math.max(hit.width / hit.height || 1, 0.5), 2.6); // a panorama is cut rather than shown as a thread

  item.dataset.id = hit.id;
  item.style.setProperty("--ratio", ratio.toFixed(3));
  link.href = `/api/image/${hit.id}`;
  link.title = [hit.uri, ...(hit.captions ?? [])].join("\n");
  picture.alt = hit.captions?.[0] || name;
  picture.src = `/api/thumb/${hit.id}?side=${THUMB_SIDE}`;
  picture.addEventListener("error", () => {
    link.textContent = "No preview: the file is gone, moved or damaged";
    link.classList.add("gone");
  });
  like.setAttribute("aria-label", `More like ${name}`);
  like.addEventListener("click", () => {
    forget();
    mode.value = "vector"; // the other modes compare words
    go({ like: hit.id });
    scrollTo({ top: 0 });
  });
  item.querySelector(".name").textContent = name;
  item.querySelector(".score").textContent = hit.score.toFixed(3);
  const match = item.querySelector(".match");
  match.hidden = !hit.rerank;
  if (hit.rerank) {
    match.textContent = `${Math.round(100 * hit.rerank.itm_probability)} % match`;
    match.title = `Score ${hit.rerank.score.toFixed(2)}; place ${hit.rerank.first_stage_rank} before reranking`;
  }
  const known = Object.entries(hit.attributes ?? {});
  const attributes = item.querySelector(".attributes");
  attributes.hidden = known.length === 0;
  attributes.append(...known.flatMap(([name, value]) => [element("dt", name), element("dd", String(value))]));
  return item;
}

function warn(lines) {
  warnings.replaceChildren(...lines.map((line) => element("li", line)));
  warnings.hidden = lines.length === 0;
}

function say(title, lines, wrong = false) {
  message.replaceChildren(element("h1", title), ...lines.map((line) => element("p", line)));
  message.classList.toggle("wrong", wrong);
  message.hidden = false;
}

// ---- searching by an image: dropped, pasted or picked ----

async function take(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) return say("That is not an image", [`${file.name} is ${file.type || "of an unknown type"}.`], true);
  if (file.size > MAX_IMAGE_BYTES) return say("That image is too large", ["The limit is 16 MiB."], true);
  const url = URL.createObjectURL(file);
  const dataUrl = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  forget();
  image = { base64: dataUrl.slice(dataUrl.indexOf(",") + 1), url };
  const q = query.value.trim();
  if (!q || mode.value === "text") mode.value = "vector"; // the other modes compare words
  go({ q });
}

function forget() {
  if (image) URL.revokeObjectURL(image.url);
  image = null;
  $("file").value = "";
}

const takeOrSay = (file) => take(file).catch((error) => say("That image could not be read", [error.message], true));
const holdsFile = (event) => event.dataTransfer?.types.includes("Files");

$("file").addEventListener("change", (event) => takeOrSay(event.target.files[0]));
$("chip-remove").addEventListener("click", () => {
  forget();
  go({ q: query.value.trim() });
});
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  takeOrSay(file);
});
addEventListener("dragover", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  $("drop").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) $("drop").hidden = true;
});
addEventListener("drop", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  $("drop").hidden = true;
  takeOrSay(event.dataTransfer.files[0]);
});

// ---- words, keys, history ----

form.addEventListener("submit", (event) => {
  event.preventDefault();
  go({ q: query.value.trim(), like: asked().like }); // words may refine an image
});
for (const choice of [mode, rerank]) {
  choice.addEventListener("change", () => go({ q: query.value.trim(), like: asked().like }));
}
more.addEventListener("click", () => {
  k = Math.min(k + PAGE, MAX_K);
  run({ keep: true });
});
addEventListener("popstate", () => {
  forget(); // the address says nothing of an image that was dropped in
  k = PAGE;
  run();
});
addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  query.focus();
  query.select();
});

try {
  info = await (await fetch("/api/info")).json();
  $("rerank-box").hidden = !info.matcher;
} catch {
  // The search itself will say what is wrong.
}
run();
