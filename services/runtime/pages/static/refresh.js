// Keeps a page current without flicker: asks whether anything was committed, and replaces only what changed.
const page = document.documentElement;
const source = page.dataset.source || location.href;
let version = page.dataset.version || "";

function connection(text, good) {
  for (const chip of document.querySelectorAll("[data-connection]:not([data-stream])")) {
    if (chip.textContent !== text) chip.textContent = text;
    chip.classList.toggle("lost", !good);
  }
}

function renew(fresh) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    other.classList.add("changed");
    part.replaceWith(document.adoptNode(other));
    if (focused) other.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
  }
}

async function refresh() {
  if (document.hidden || !version) return;
  let answer;
  try {
    answer = await fetch(source, { headers: { "If-None-Match": version } });
  } catch {
    return connection("Connection lost: trying again", false);
  }
  if (answer.redirected) return location.reload(); // logged out meanwhile
  if (answer.ok) {
    version = answer.headers.get("ETag");
    renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
  }
  connection(answer.ok || answer.status === 304 ? "Live" : "The service has trouble: trying again", answer.status < 400);
}

setInterval(refresh, 2000);
document.addEventListener("visibilitychange", refresh);
