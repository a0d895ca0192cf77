// What the bench holds beside the agent: it lists and watches whole Nodes as JSON and keeps them, as an informer does.
// `bun full-watch.ts URL CA-FILE TOKEN`. Prints one JSON line when it has them all: `{"listedMs":…,"nodes":…}`.
import * as v from "valibot";

const [url, ca = "", token] = process.argv.slice(2);
const tls = { ca: Bun.file(ca) };
const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
const NodeBody = v.looseObject({ metadata: v.looseObject({ name: v.string() }) });
const ListBody = v.object({
  metadata: v.object({ resourceVersion: v.string(), continue: v.optional(v.string(), "") }),
  items: v.array(NodeBody),
});
const EventBody = v.object({ type: v.string(), object: NodeBody });

const started = performance.now();
const nodes = new Map<string, object>();
let version = "";
for (let next: string | undefined; next !== ""; ) {
  const query = new URLSearchParams({ limit: "500", ...(next && { continue: next }) });
  const list = v.parse(ListBody, await (await fetch(`${url}/api/v1/nodes?${query}`, { headers, tls })).json());
  for (const node of list.items) nodes.set(node.metadata.name, node);
  next = list.metadata.continue;
  version = list.metadata.resourceVersion;
}
const watch = await fetch(`${url}/api/v1/nodes?watch=1&resourceVersion=${version}`, { headers, tls });
console.log(JSON.stringify({ listedMs: performance.now() - started, nodes: nodes.size }));
let rest = "";
const decoder = new TextDecoder();
for await (const chunk of watch.body ?? []) {
  const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const { object } = v.parse(EventBody, JSON.parse(line));
    nodes.set(object.metadata.name, object);
  }
}
