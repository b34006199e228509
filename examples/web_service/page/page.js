// The page: sends files to the service, and shows what the service tells of all of them.
// Names of files come from anywhere: they go into the page as text, never as HTML.

const AT_ONCE = 3; // a browser has six connections to a site, and each page's news take one
const SHOWN = 100;
const STATES = {
  waiting: "Waiting",
  receiving: "Sending",
  hashing: "Hashing",
  sending: "Backing up",
  done: "Backed up",
  failed: "Failed",
  cancelled: "Cancelled",
};
const STEPS = ["received", "hashed", "sent"];
const UNITS = ["bytes", "KiB", "MiB", "GiB"];

const uploads = new Map(); // by id; each has an `own` file and request if this page sends it
const replaced = new Set(); // ids of those that were tried again
const queue = [];
let status = null;
let run = null; // of the service, by the ids of its events
let connected = false;

const byId = (id) => document.getElementById(id);

// --- sending ------------------------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const upload = show(newId());
    upload.own = { file, request: null };
    Object.assign(upload.news, { name: file.name, size: file.size });
    if (isTooLarge(file)) {
      fail(upload, `This file is larger than ${inWords(status.max_bytes)}, which is the most we take.`);
    } else {
      queue.push(upload);
    }
    render(upload);
  }
  sendNext();
}

function isTooLarge(file) {
  return status !== null && file.size > status.max_bytes;
}

function sendNext() {
  const underWay = [...uploads.values()].filter((upload) => upload.own?.request).length;
  for (const upload of queue.splice(0, AT_ONCE - underWay)) send(upload);
}

function send(upload) {
  const { file } = upload.own;
  const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
  upload.own.request = request;
  request.upload.onprogress = (event) => {
    upload.news.received = Math.max(upload.news.received, event.loaded);
    if (upload.news.state === "waiting") upload.news.state = "receiving";
    render(upload);
  };
  request.onload = () => {
    const answer = answerOf(request);
    if (request.status === 200) take(upload, done(answer));
    else fail(upload, answer.error ?? `The service answered with an error (${request.status}).`);
  };
  request.onerror = () => {
    fail(upload, "The connection to the service broke. Try again.");
    upload.isGuess = true; // the service may know better
  };
  request.onabort = () => end(upload, "cancelled", "You cancelled this upload. Nothing was kept.");
  request.onloadend = () => {
    upload.own.request = null;
    render(upload);
    sendNext();
  };
  request.open("PUT", `uploads/${upload.id}?name=${encodeURIComponent(file.name)}`);
  request.send(file);
}

function answerOf(request) {
  try {
    return JSON.parse(request.responseText);
  } catch {
    return {};
  }
}

function done({ file_id, name, outcome, sha256, size }) {
  return {
    state: "done", file_id, sha256, outcome, size, stored_name: name,
    received: size, hashed: size, sent: size,
  };
}

function fail(upload, error) {
  end(upload, "failed", error);
}

function end(upload, state, error) {
  take(upload, { state, error });
}

function cancel(upload) {
  const waiting = queue.indexOf(upload);
  if (waiting >= 0) {
    queue.splice(waiting, 1);
    end(upload, "cancelled", "You cancelled this upload. Nothing was sent.");
  } else {
    upload.own.request?.abort();
  }
}

function retry(upload) {
  replaced.add(upload.id);
  remove(upload);
  add([upload.own.file]);
  byId("uploads").querySelector(".act").focus(); // the new row is the first
}

// --- what the service tells ---------------------------------------------------------------------

function listen() {
  const news = new EventSource("events"); // connects again by itself, with the id of the last event
  news.onopen = () => {
    connected = true;
    renderStatus();
  };
  news.onerror = () => {
    connected = false;
    renderStatus();
    if (news.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
  news.addEventListener("status", (event) => {
    noteRun(event);
    status = JSON.parse(event.data);
    renderStatus();
  });
  news.addEventListener("upload", (event) => {
    noteRun(event);
    const told = JSON.parse(event.data);
    if (!replaced.has(told.id)) take(uploads.get(told.id) ?? show(told.id), told);
  });
}

function noteRun(event) {
  const [now] = event.lastEventId.split("-");
  if (run !== null && now !== run) {
    // it knows nothing of what other pages were sending; our own requests tell for themselves
    for (const upload of uploads.values()) {
      if (!upload.own) fail(upload, "The service was restarted before this file was backed up.");
    }
  }
  run = now;
}

function hasEnded({ news }) {
  return ["done", "failed", "cancelled"].includes(news.state);
}

function take(upload, news) {
  const before = upload.news.state;
  const farther = {};
  for (const step of STEPS) farther[step] = Math.max(upload.news[step], news[step] ?? 0);
  // an end stands, and what comes late is no news; but done is done, and a guess may be corrected
  const corrects = news.state === "done" || (news.state === "failed" && upload.isGuess);
  const stands = hasEnded(upload) && !corrects;
  Object.assign(upload.news, stands ? {} : news, farther);
  if (!stands) upload.isGuess = false;
  const { name, state } = upload.news;
  if (upload.own && state !== before && hasEnded(upload)) {
    byId("spoken").textContent = `${name}: ${STATES[state]}`;
    if (state !== "done") upload.own.request?.abort(); // nobody wants the rest of it
  }
  render(upload);
}

// --- showing ------------------------------------------------------------------------------------

function show(id) {
  const row = byId("upload").content.firstElementChild.cloneNode(true);
  const news = { name: "", size: null, state: "waiting", received: 0, hashed: 0, sent: 0, retries: 0 };
  const upload = { id, row, own: null, news, isGuess: false };
  row.querySelector(".act").addEventListener("click", () => {
    (hasEnded(upload) ? retry : cancel)(upload);
  });
  uploads.set(id, upload);
  byId("uploads").prepend(row);
  forgetSome();
  byId("empty").hidden = true;
  return upload;
}

function forgetSome() {
  for (const upload of uploads.values()) {
    if (uploads.size <= SHOWN) return;
    if (hasEnded(upload)) remove(upload);
  }
}

function remove({ id, row }) {
  row.remove();
  uploads.delete(id);
}

function render(upload) {
  const { row, own, news } = upload;
  const part = (name) => row.querySelector(`.${name}`);
  row.dataset.state = news.state;
  part("name").textContent = news.name;
  part("state").textContent = STATES[news.state];
  part("size").textContent = sizeLine(news);
  for (const step of STEPS) fill(part(step), news[step], news);
  part("error").textContent = news.error ?? "";
  part("error").hidden = !news.error;
  part("receipt").hidden = news.state !== "done";
  part("file-id").textContent = news.file_id ?? "";
  part("sha256").textContent = news.sha256 ?? "";
  part("stored-name").textContent = news.stored_name ?? "";
  part("stored").hidden = !news.stored_name || news.stored_name === news.name;
  const act = part("act");
  act.hidden = !own || news.state === "done" || isTooLarge(own.file);
  act.textContent = hasEnded(upload) ? "Try again" : "Cancel";
  act.setAttribute("aria-label", `${act.textContent}: ${news.name}`);
}

function sizeLine({ size, retries, outcome }) {
  const known = size === null ? "Size not known yet" : inWords(size);
  if (outcome === "rapid") return `${known} · KooDrive had these bytes already`;
  if (outcome === "exists") return `${known} · the record had this file already`;
  return retries ? `${known} · ${retries} part${retries > 1 ? "s" : ""} sent again` : known;
}

function fill(bar, done, { size, state }) {
  const share = state === "done" ? 1 : size ? Math.min(done / size, 1) : 0;
  bar.value = share;
  bar.previousElementSibling.textContent = `${Math.floor(share * 100)} %`;
}

function renderStatus() {
  const notice = byId("notice");
  if (!connected) notice.textContent = "There is no connection to the service. Trying again…";
  else if (status?.is_stopping) {
    notice.textContent = "The service is shutting down: it finishes what is on its way and takes no new files.";
  } else notice.textContent = "";
  notice.hidden = !notice.textContent;
  if (!status) return;
  byId("emulator").hidden = !status.uses_emulator;
  byId("hint").textContent = `Several at once are fine, up to ${inWords(status.max_bytes)} each.`;
  byId("record").textContent = recordLine(status);
}

function recordLine({ record, record_state }) {
  if (record_state === "waiting") return "Waiting: another backup holds the lock.";
  if (!record) return "A backup record is begun with the first file.";
  if (record_state === "open") return `Backup record ${record} is open, and completed when all is quiet.`;
  if (record_state === "completed") return `Backup record ${record} is complete.`;
  return `Backup record ${record} could not be completed; the next upload goes on with it.`;
}

function inWords(bytes) {
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${amount.toFixed(1).replace(/\.0$/, "")} ${UNITS[unit]}`;
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is there with HTTPS only
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- dropping -----------------------------------------------------------------------------------

const drop = byId("drop");
byId("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault(); // anywhere on the page: a missed drop must not open the file
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory;
  const folders = items.filter(isFolder);
  add(items.filter((item) => !isFolder(item)).map((item) => item.getAsFile()).filter(Boolean));
  if (folders.length) {
    byId("notice").textContent = "A folder cannot be sent: choose the files in it.";
    byId("notice").hidden = false;
  }
});
addEventListener("beforeunload", (event) => {
  if ([...uploads.values()].some((upload) => upload.own?.request)) event.preventDefault();
});

listen();
