import { call, hasKey, idOf, idText, metrics, numbers, plain, setKey, stream } from "./api.js";
import { $, bytes, make, options, plot, show, table, whole } from "./dom.js";
import { project } from "./projection.js";

const POLL = 2000;
const KEPT = 120;
const history = { searches: [], writes: [], p50: [], p99: [], recall: [], lag: [] };
let collections = [];
let before = null;

// Overview

const sum = (entries = [], where = () => true) => entries.filter(({ labels }) => where(labels)).reduce((total, { value }) => total + value, 0);
const isSearch = (labels) => /^Search/.test(labels.method || "");
const isWrite = (labels) => /^(Upsert|Delete|SetPayload|OverwritePayload|DeletePayload)$/.test(labels.method || "");

// The value below which a share of the observations between two looks at a histogram lie, linear within a bucket.
function quantile(now, then, share) {
  const grown = (entries = []) => {
    const buckets = new Map();
    for (const { labels, value } of entries) if (isSearch(labels)) buckets.set(labels.le, (buckets.get(labels.le) || 0) + value);
    return buckets;
  };
  const [current, former] = [grown(now), grown(then)];
  const buckets = [...current].map(([le, value]) => [le === "+Inf" ? Infinity : Number(le), value - (former.get(le) || 0)]).sort((a, b) => a[0] - b[0]);
  const total = buckets.at(-1)?.[1] || 0;
  if (total <= 0) return null;
  let [low, below] = [0, 0];
  for (const [le, count] of buckets) {
    if (count >= share * total) return le === Infinity ? low : low + ((le - low) * (share * total - below)) / Math.max(1, count - below);
    [low, below] = [le, count];
  }
  return low;
}

function remember(found, shards) {
  const now = { at: performance.now(), found };
  const name = "needletail_rpc_server_handled_total";
  const took = "needletail_rpc_server_duration_seconds_bucket";
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  const rate = (where) => (before ? Math.max(0, sum(found[name], where) - sum(before.found[name], where)) / seconds : null);
  const queries = (entries) => sum(entries.needletail_queries_total);
  const replicas = shards.flatMap((shard) => shard.replicas || []);
  const sampled = replicas.filter((replica) => Number(replica.recallSamples) > 0);
  const samples = sampled.reduce((total, replica) => total + Number(replica.recallSamples), 0);
  const lags = shards.map((shard) => {
    const applied = (shard.replicas || []).filter((replica) => replica.inSync).map((replica) => Number(replica.appliedSequence || 0));
    return applied.length > 1 ? Math.max(...applied) - Math.min(...applied) : 0;
  });
  const values = {
    searches: before ? Math.max(0, queries(found) - queries(before.found)) / seconds : null, writes: rate(isWrite),
    p50: before ? quantile(found[took], before.found[took], 0.5) : null, p99: before ? quantile(found[took], before.found[took], 0.99) : null,
    recall: samples ? sampled.reduce((total, replica) => total + (replica.sampledRecall || 0) * Number(replica.recallSamples), 0) / samples : null,
    lag: lags.length ? Math.max(...lags) : null,
  };
  for (const [key, value] of Object.entries(values)) {
    history[key].push(value);
    if (history[key].length > KEPT) history[key].shift();
  }
  before = now;
}

function overview(status) {
  const leader = (status.coordinators || []).find((one) => one.leader);
  const tiles = [
    ["Shard workers", `${status.nodesAlive || 0} of ${status.nodesTotal || 0}`, status.nodesAlive !== status.nodesTotal],
    ["Shards that serve", `${status.shardsReady || 0} of ${status.shardsTotal || 0}`, status.shardsReady !== status.shardsTotal],
    ["Points", whole(status.points)], ["Collections", whole(status.collections)], ["Coordinators", whole((status.coordinators || []).length)],
    ["Leader", leader ? leader.address || "this one" : "none", !leader], ["Version", status.version], ["Cluster", status.clusterId],
  ];
  show($("#tiles"), ...tiles.map(([name, value, isBad]) => make("div", {}, make("dt", {}, name), make("dd", { class: isBad ? "bad" : "" }, value))));
  const milliseconds = (value) => `${(value * 1000).toPrecision(3)} ms`;
  show($("#plots"),
    plot("Searches a second", [history.searches], (value) => value.toFixed(1)), plot("Writes a second", [history.writes], (value) => value.toFixed(1)),
    plot("Search latency", [history.p50, history.p99], milliseconds, "99 of 100"),
    plot("Recall of sampled searches", [history.recall], (value) => value.toFixed(4)),
    plot("Replication lag", [history.lag], (value) => `${value} writes`));
}

// Map

function map(nodes, shards, operations, paused) {
  const held = new Map(nodes.map((node) => [node.id, []]));
  for (const shard of shards) for (const replica of shard.replicas || []) held.get(replica.node)?.push({ shard, replica });
  const zones = Map.groupBy ? Map.groupBy(nodes, (node) => node.zone || "") : group(nodes);
  show($("#zones"), ...[...zones].sort().map(([zone, members]) => make("div", { class: "zone" }, make("h3", {}, zone ? `Zone ${zone}` : "No zone"),
    make("div", { class: "nodes" }, ...members.map((node) => card(node, held.get(node.id)))))));
  const active = operations.filter((operation) => !["done", "cancelled", "failed"].includes(operation.step));
  const name = new Map(nodes.map((node) => [node.id, node.address]));
  show($("#operations"), active.length || paused
    ? make("div", {}, paused ? make("p", { class: "warn" }, "Moves are paused.") : null,
      table("Operations under way", ["What", "Shard", "From", "To", "Step", "Why"], active.map(({ kind, move = {}, step, problem }) => [
        kind || "move", `${move.collection} ${move.shard || 0}`, name.get(move.from) || move.from || "–", name.get(move.to) || move.to || "–",
        step, problem || move.reason || ""])))
    : make("p", { class: "hint" }, "Nothing moves."));
}

function group(nodes) {
  const zones = new Map();
  for (const node of nodes) zones.set(node.zone || "", [...(zones.get(node.zone || "") || []), node]);
  return zones;
}

function card(node, held = []) {
  const limit = Number(node.memoryLimitBytes) ? ` of ${bytes(node.memoryLimitBytes)}` : "";
  const words = [!node.alive && "does not answer", node.drained && "drained"].filter(Boolean).join(", ");
  return make("article", { class: "node", "aria-label": `Worker ${node.address}` },
    make("h4", {}, node.address || node.id, words ? make("span", { class: node.alive ? "warn" : "bad" }, ` – ${words}`) : null),
    make("p", {}, `${whole(node.points)} points, ${bytes(node.memoryBytes)}${limit} memory, ${bytes(node.diskBytes)} disk`),
    make("ul", { class: "replicas" }, ...held.map(({ shard, replica }) => {
      const state = (replica.state || "REPLICA_STATE_UNKNOWN").replace("REPLICA_STATE_", "").toLowerCase().replace("_", "-");
      const troubles = [state !== "ready" && state, !replica.inSync && "not in sync"].filter(Boolean);
      const label = `${shard.collection} ${shard.shard || 0}${troubles.length ? `: ${troubles.join(", ")}` : ""}`;
      return make("li", { class: `${replica.primary ? "primary" : ""} ${troubles.length ? "troubled" : ""}`, title: replica.reason || `${whole(replica.points)} points, ${bytes(replica.memoryBytes)}` },
        label, make("span", { class: "unseen" }, replica.primary ? " (primary)" : ""));
    })));
}

// Collections

function listCollections(shards) {
  const open = new Set([...document.querySelectorAll("#collection-list details[open]")].map((one) => one.dataset.name));
  if (!collections.length) return show($("#collection-list"), make("p", { class: "hint" }, "There is none yet: needletail collection create."));
  show($("#collection-list"), ...collections.map((collection) => {
    const own = shards.filter((shard) => shard.collection === collection.name);
    const primaries = own.map((shard) => (shard.replicas || []).find((replica) => replica.primary)).filter(Boolean);
    const total = (key) => own.flatMap((shard) => shard.replicas || []).reduce((all, replica) => all + Number(replica[key] || 0), 0);
    const points = primaries.reduce((all, replica) => all + Number(replica.points || 0), 0);
    return make("details", { "data-name": collection.name, open: open.has(collection.name) },
      make("summary", {}, `${collection.name} – ${whole(points)} points, ${own.length} shards × ${collection.replicationFactor}, ${bytes(total("memoryBytes"))} memory, ${bytes(total("diskBytes"))} disk`),
      table(`Fields of ${collection.name}`, ["Field", "Dimensions", "Metric", "Element", "Index", "Encoded"], collection.fields.map((field, index) => {
        const codec = (collection.codecs || [])[index] || {};
        const encoded = codec.problem || (Number(codec.version) ? `version ${codec.version}: ${whole(codec.encoded)} of ${whole(codec.total)}` : "–");
        return [field.name, field.dimensions, field.metric.replace("METRIC_", "").toLowerCase(), (field.element || "f32").replace("ELEMENT_", "").toLowerCase(), field.index?.spec || "hnsw", encoded];
      })),
      table(`Shards of ${collection.name}`, ["Shard", "Epoch", "Points", "Memory", "Data", "Disk", "Recall", "Dimension"], own.map((shard) => {
        const replica = (shard.replicas || []).find((one) => one.primary) || {};
        const recall = Number(replica.recallSamples) ? `${(replica.sampledRecall || 0).toFixed(4)} of ${replica.recallSamples}` : "–";
        const dimension = replica.localIntrinsicDimension ? replica.localIntrinsicDimension.toFixed(1) : "–";
        return [shard.shard || 0, shard.epoch, whole(replica.points), bytes(replica.memoryBytes), bytes(replica.dataBytes), bytes(replica.diskBytes), recall, dimension];
      })));
  }));
}

// Forms

function fields(form) {
  const chosen = collections.find((one) => one.name === form.collection.value);
  options(form.field, (chosen?.fields || []).map((field) => field.name));
}

for (const form of [$("#query-form"), $("#sample-form")]) form.collection.addEventListener("change", () => fields(form));

$("#query-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const said = $("#query-said");
  said.className = "";
  said.textContent = "Searching…";
  try {
    const began = performance.now();
    if (form.by.value === "text") return await find(form, said);
    const vector = form.by.value === "id" ? await vectorOf(form) : { values: JSON.parse(`[${form.value.value.replace(/[[\]]/g, " ").trim().split(/[\s,]+/).join(",")}]`) };
    const query = { field: form.field.value, vector, limit: Number(form.limit.value), exact: form.exact.checked, parts: { payload: true } };
    if (form.ef.value) query.ef = Number(form.ef.value);
    if (form.recall.value) query.recallTarget = Number(form.recall.value);
    const answer = await call("Points/Search", { collection: form.collection.value, query });
    const took = performance.now() - began;
    const { work = {}, coverage = {}, recall } = answer;
    said.textContent = `${(answer.points || []).length} points in ${took.toFixed(1)} ms; ${coverage.shardsAnswered} of ${coverage.shardsTotal} shards, ${whole(work.distances)} distances, ${whole(work.hops)} hops`
      + (recall?.expected ? `, expected recall ${recall.expected.toFixed(3)}` : "");
    answers((answer.points || []).map((point) => [idText(point.id), point.score?.toPrecision(6) ?? "0", point.distance?.toPrecision(6) ?? "0", make("td", { class: "payload" }, JSON.stringify(plain(point.payload)))]),
      ["Point", "Score", "Distance", "Payload"]);
  } catch (error) {
    failed(said, error);
  }
});

async function vectorOf(form) {
  const found = await call("Points/Get", { collection: form.collection.value, ids: [idOf(form.value.value)], parts: { vectors: true } });
  const vectors = found.points?.[0]?.vectors;
  if (!vectors) throw new Error(`there is no point ${form.value.value}`);
  const vector = vectors[form.field.value];
  if (!vector) throw new Error(`point ${form.value.value} has no vector in ${form.field.value}`);
  return vector;
}

// Looks through payloads; the points that have the text can be asked for their neighbours.
async function find(form, said) {
  const wanted = form.value.value.trim().toLowerCase();
  const [hits, most] = [[], Number(form.limit.value)];
  let seen = 0;
  for await (const page of stream("Points/Scroll", { collection: form.collection.value, parts: { payload: true }, page: 1000, limit: 100000 })) {
    seen += (page.points || []).length;
    for (const point of page.points || []) {
      const payload = JSON.stringify(plain(point.payload));
      if (hits.length < most && payload.toLowerCase().includes(wanted)) hits.push([point.id, payload]);
    }
    if (hits.length === most) break;
  }
  said.textContent = `${hits.length} points with “${wanted}” among the first ${whole(seen)}`;
  answers(hits.map(([id, payload]) => [idText(id), make("td", { class: "payload" }, payload),
    make("button", { class: "small", type: "button", onclick: () => {
      form.by.value = "id";
      form.value.value = idText(id);
      form.requestSubmit();
    } }, "Like this one")]), ["Point", "Payload", ""]);
}

const answers = (rows, head) => show($("#answers"), rows.length ? table("Answers", head, rows) : make("p", { class: "hint" }, "Nothing found."));

function failed(said, error) {
  said.className = "bad";
  said.textContent = error.message;
  show($("#answers"));
}

$("#sample-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const said = $("#sample-said");
  said.className = "";
  said.textContent = "Reading…";
  try {
    const [rows, payloads, most] = [[], [], Number(form.count.value)];
    for await (const page of stream("Points/Scroll", { collection: form.collection.value, parts: { vectors: true, payload: true }, limit: most, page: 250 })) {
      for (const point of page.points || []) {
        const vector = point.vectors?.[form.field.value];
        if (!vector) continue;
        rows.push(numbers(vector));
        payloads.push({ id: idText(point.id), ...plain(point.payload) });
      }
    }
    const keys = [...new Set(payloads.flatMap((payload) => Object.keys(payload)))].filter((key) => key !== "id").sort();
    options(form.key, ["", ...keys], (key) => key || "nothing");
    if (rows.length < 3) throw new Error("fewer than three points have a vector in this field");
    const { picture, share } = project(rows, payloads, form.key.value);
    said.textContent = `${whole(rows.length)} points; the two directions have ${(share * 100).toFixed(0)} % of their variance`;
    show($("#projection"), ...picture);
  } catch (error) {
    failed(said, error);
  }
});

// Events

function listEvents(events) {
  if (!events.length) return show($("#event-list"), make("li", {}, "Nothing has happened yet."));
  show($("#event-list"), ...events.slice().reverse().slice(0, 200).map((event) => {
    const at = new Date(Number(event.milliseconds));
    return make("li", {}, make("time", { datetime: at.toISOString() }, at.toLocaleTimeString()), make("b", {}, `${event.kind} `), event.message);
  }));
}

// Keys

$("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(event.target.key.value);
  event.target.reset();
  look();
});

$("#forget").addEventListener("click", () => {
  setKey("");
  location.reload();
});

// Asks for a key, and asks nobody else until there is one.
function ask(problem) {
  $("#locked").hidden = false;
  $("#key-said").textContent = hasKey() ? problem : "";
  setKey("");
}

async function look() {
  const state = $("#state");
  try {
    const [status, { nodes = [] }, { shards = [] }, { operations = [], paused }, { events = [] }, { collections: all = [] }, found] = await Promise.all([
      call("Cluster/Status"), call("Cluster/Nodes"), call("Cluster/Shards"), call("Cluster/Operations"), call("Cluster/Events"), call("Collections/List"), metrics()]);
    collections = all;
    $("#locked").hidden = true;
    $("#forget").hidden = !hasKey();
    remember(found, shards);
    overview(status);
    map(nodes, shards, operations, paused);
    listCollections(shards);
    listEvents(events);
    for (const form of [$("#query-form"), $("#sample-form")]) {
      options(form.collection, collections.map((one) => one.name));
      fields(form);
    }
    const isWell = status.shardsReady === status.shardsTotal && status.nodesAlive === status.nodesTotal;
    const text = isWell ? "All is well" : "Not all is well: see the map";
    if (state.textContent !== text) state.textContent = text;
    state.className = isWell ? "" : "bad";
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      state.textContent = error.status === 401 ? "A key is asked for" : "This key does not show the cluster";
      state.className = "bad";
      return ask(error.message);
    }
    state.textContent = `No answer from the coordinator: ${error.message}`;
    state.className = "bad";
  }
  setTimeout(look, POLL);
}

look();
