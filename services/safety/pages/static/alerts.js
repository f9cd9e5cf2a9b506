// Alerts as they arrive: the stream brings rows ready to be put into the table, and resumes where it broke off.
const list = document.getElementById("alerts");
const chip = document.querySelector("[data-connection][data-stream]");
const mostRows = 300;
let cursor = list.dataset.cursor;

function show(text, good) {
  if (chip.textContent !== text) chip.textContent = text;
  chip.classList.toggle("lost", !good);
}

function build(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
}

function put(row) {
  const old = document.getElementById(row.id);
  if (old) {
    const draft = old.querySelector("textarea")?.value; // somebody may be writing
    const open = old.querySelector("details")?.open;
    old.replaceWith(row);
    if (draft && row.querySelector("textarea")) row.querySelector("textarea").value = draft;
    if (open && draft && row.querySelector("details")) row.querySelector("details").open = true;
  } else if ("fits" in row.dataset) {
    list.prepend(row);
    document.getElementById("news").textContent = "New alert, " + row.dataset.title;
    while (list.rows.length > mostRows) list.lastElementChild.remove();
  }
  row.classList.add("changed");
}

function count(html) {
  const counts = build(html);
  document.getElementById("counts").replaceWith(counts);
  const open = Number(counts.dataset.open);
  document.title = (open ? `(${open}) ` : "") + "Alerts · week12";
}

function connect() {
  const address = new URL(list.dataset.stream, location.href);
  address.searchParams.set("last", cursor);
  const stream = new EventSource(address);
  const on = (name, act) => stream.addEventListener(name, (event) => {
    act(event.data);
    cursor = event.lastEventId || cursor;
  });
  on("reset", () => list.replaceChildren());
  on("alert", (html) => put(build(html)));
  on("removed", (id) => document.getElementById("alert-" + id)?.remove());
  on("counts", count);
  stream.onopen = () => show("Live", true);
  stream.onerror = () => {
    show("Connection lost: trying again", false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(again, 2000);
  };
}

async function again() {
  const answer = await fetch("/incidence").catch(() => null);
  if (answer?.redirected) location.reload(); // logged out meanwhile
  else connect();
}

async function send(alert, action, note) {
  const answer = await fetch(`/v1/alerts/${alert}/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ note }),
  }).catch(() => null);
  if (answer?.ok) return; // the stream brings the alert's new state, before or after this answer
  const problem = answer ? await answer.json().catch(() => null) : null;
  const form = document.getElementById("alert-" + alert)?.querySelector("form");
  if (!form) return; // what was asked for has been done, or the alert is gone
  const error = form.querySelector(".error");
  error.textContent = problem?.detail ?? "The service did not answer. Try again.";
  error.hidden = false;
  form.elements.note.value = note;
  form.closest("details").open = true;
}

list.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  send(form.dataset.alert, event.submitter.value, form.elements.note.value);
  form.reset(); // so that nothing sent is taken for a draft when the row is put anew
  form.querySelector(".error").hidden = true;
  form.closest("details").open = false;
});

connect();
