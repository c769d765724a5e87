// The cluster's API as the Connect protocol has it, and its metrics as Prometheus has them. 64-bit numbers come as text.

// The key is this tab's: it goes when the tab is closed, and no other page sees it.
const KEY = "needletail-key";
let key = sessionStorage.getItem(KEY) || "";

export function setKey(text) {
  key = text.trim();
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export const hasKey = () => key !== "";
const authorized = (headers) => (key ? { ...headers, authorization: `Bearer ${key}` } : headers);

async function refusal(answer, method) {
  const body = await answer.json().catch(() => ({}));
  return Object.assign(new Error(body.message || `${method} failed with ${answer.status}`), { status: answer.status });
}

export async function call(method, request = {}) {
  const answer = await fetch(`/needletail.v1.${method}`, {
    method: "POST", headers: authorized({ "content-type": "application/json" }), body: JSON.stringify(request),
  });
  if (!answer.ok) throw await refusal(answer, method);
  return answer.json();
}

// Messages of a stream as they come: a byte of flags and four of length stand before each.
export async function* stream(method, request) {
  const message = new TextEncoder().encode(JSON.stringify(request));
  const envelope = new Uint8Array(5 + message.length);
  new DataView(envelope.buffer).setUint32(1, message.length);
  envelope.set(message, 5);
  const answer = await fetch(`/needletail.v1.${method}`, { method: "POST", headers: authorized({ "content-type": "application/connect+json" }), body: envelope });
  if (!answer.ok) throw await refusal(answer, method);
  const reader = answer.body.getReader();
  let rest = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const all = new Uint8Array(rest.length + value.length);
    all.set(rest);
    all.set(value, rest.length);
    rest = all;
    while (rest.length >= 5) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(1);
      if (rest.length < 5 + length) break;
      const content = JSON.parse(new TextDecoder().decode(rest.subarray(5, 5 + length)));
      const isEnd = (rest[0] & 2) !== 0;
      rest = rest.subarray(5 + length);
      if (isEnd) {
        if (content.error) throw new Error(content.error.message);
        return;
      }
      yield content;
    }
  }
}

// { name: [{ labels, value }] }
export async function metrics() {
  const answer = await fetch("/metrics", { headers: authorized({}) });
  if (!answer.ok) throw await refusal(answer, "metrics");
  const text = await answer.text();
  const found = {};
  for (const line of text.split("\n")) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const label of (match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[label[1]] = label[2];
    (found[match[1]] ||= []).push({ labels, value: Number(match[3]) });
  }
  return found;
}

// A point's vector as numbers.
export function numbers(vector) {
  if (vector.values) return Float32Array.from(vector.values, Number);
  const bytes = Uint8Array.from(atob(vector.data || ""), (character) => character.charCodeAt(0));
  if (vector.element === "ELEMENT_U8" || vector.element === "ELEMENT_BIT") return bytes;
  if (vector.element !== "ELEMENT_F16") return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  return Float32Array.from(halves, (half) => {
    const [sign, exponent, fraction] = [half & 0x8000 ? -1 : 1, (half >> 10) & 31, half & 1023];
    return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

export const idText = (id) => (id.uuid ? uuidText(id.uuid) : String(id.number ?? 0));

function uuidText(base64) {
  const hex = Array.from(atob(base64), (character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export const idOf = (text) => (/^\d+$/.test(text.trim()) ? { number: text.trim() } : { uuidText: text.trim() });

// A payload as plain JSON.
export function plain(payload = {}) {
  return Object.fromEntries(Object.entries(payload).map(([key, value]) => [key, plainValue(value)]));
}

function plainValue(value) {
  if ("stringValue" in value) return value.stringValue;
  if ("intValue" in value) return Number.isSafeInteger(Number(value.intValue)) ? Number(value.intValue) : value.intValue;
  if ("doubleValue" in value) return value.doubleValue;
  if ("boolValue" in value) return value.boolValue;
  if ("listValue" in value) return (value.listValue.values || []).map(plainValue);
  if ("mapValue" in value) return plain(value.mapValue.entries);
  return null;
}
