// The server, as the page asks it.

const PAUSE = 300; // milliseconds between looks at a job

export class Refusal extends Error {
  constructor(error, status) {
    super(error?.message ?? `the server answered ${status}`);
    this.code = error?.code;
    this.candidates = error?.candidates ?? [];
  }
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ message: "the server does not answer; is it still running?" });
  }
  if (answer.status === 401 && (await askForKey())) return ask(path, options);
  if (!answer.ok) throw new Refusal((await answer.json().catch(() => ({}))).error, answer.status);
  return answer;
}

function askForKey() {
  const dialog = document.getElementById("key"), text = document.getElementById("key-text");
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      if (text.value) sessionStorage.setItem("key", text.value);
      done(Boolean(text.value));
      text.value = "";
    }, { once: true });
    dialog.showModal();
  });
}

export async function model() {
  return (await (await ask("/v1/models")).json()).data[0].id;
}

export async function post(path, fields, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value !== null && value !== "") form.append(name, value);
  return (await ask(path, { method: "POST", body: form, signal })).json();
}

/** Runs a job to its end, telling how it stands; its files as blobs, and the server keeps nothing. */
export async function run(fields, told, signal) {
  let job = await post("/v1/jobs", fields, signal);
  const path = `/v1/jobs/${job.id}`;
  try {
    while (job.status === "queued" || job.status === "running") {
      told(job);
      await new Promise((next, stop) => {
        const timer = setTimeout(next, PAUSE);
        signal.addEventListener("abort", () => { clearTimeout(timer); stop(new DOMException("", "AbortError")); }, { once: true });
      });
      job = await (await ask(path, { signal })).json();
    }
    if (job.status === "failed") throw new Refusal(job.error);
    const results = [];
    for (const result of job.result.results) {
      const blobs = {};
      for (const [kind, name] of Object.entries(result.files)) blobs[kind] = await (await ask(`${path}/files/${name}`, { signal })).blob();
      results.push({ ...result, blobs });
    }
    return { results, notes: job.result.notes ?? [] };
  } finally {
    ask(path, { method: "DELETE" }).catch(() => {});
  }
}

export function bytes(base64, type) {
  return new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type });
}
