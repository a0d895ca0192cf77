import { flat, VIEW_NAMES, type ViewName, type Views } from "./story-mesh.ts";

/** In the views that are named; where `never` is for all views. */
export type Told = { readonly [view in ViewName]?: readonly (string | RegExp)[] } & {
  readonly never?: readonly (string | RegExp)[];
  /** findings of tartan doctor that are not there when all is well */
  readonly errors?: number;
  readonly warnings?: number;
};

/** Of a node that sees nothing wrong. */
export const WELL: Told = {
  status: [/^node n\d, agent up/, "state ready", "peers 2 peers: 2 up", "kernel as desired", /exit code 0 $/],
  peers: ["2 peers: 2 up; probed every 1 s", /exit code 0 $/],
  doctor: ["it is ready, and warns of nothing", "2 other nodes answer through the overlay", "complete"],
  trace: [/The packet leaves this node to 192\.0\.2\.\d, n\d\. exit code 0 $/],
  diff: ["is as desired", /exit code 0 $/],
  readyz: ['200 {"ready":true,"reasons":[],"warnings":[]}'],
  metrics: [
    "tartan_ready 1",
    'tartan_peers{state="up"} 2',
    /tartan_peer_up\{peer="n\d",[^}]+\} 1 tartan_peer_up\{peer="n\d",[^}]+\} 1/,
  ],
  data: ['"up":2', '"why":null'],
  never: ["is down", "degraded ", "left out:", '"why":"', "tartan_warnings", "lacks", "What helps", "does not answer"],
};

/** Of a node whose agent is away. */
export const AWAY_VIEWS: Told = {
  status: ["the agent does not answer: packets go as the kernel has it", "nobody follows changes; start it"],
  peers: [/no agent answers at unix:\S+ \(there is no such socket\): start it/],
  readyz: ["no answer"],
  metrics: ["no answer"],
  data: ["no answer"],
};

/** At a node that sees one other in trouble: n2. */
export function troubleAtOne(state: "down" | "degraded" | "left out", why: string, fix: string): Told {
  const name = state === "left out" ? "leftOut" : state;
  return {
    status: ["state ready", `peers 2 peers: 1 ${state}, 1 up`, /exit code 0 $/],
    peers: [
      new RegExp(`n2 ${state} `),
      / n3 up /,
      `n2 is ${state}: ${why} fix: ${fix} 2 peers: 1 ${state}, 1 up`,
      /exit code 1 $/,
    ],
    doctor: [`peers: n2 is ${state}: ${why} fix: ${fix}`, "it is ready, and warns of nothing but peers"],
    readyz: ['200 {"ready":true,"reasons":[],'],
    metrics: ["tartan_ready 1", `tartan_peers{state="${name}"} 1`, 'tartan_peers{state="up"} 1'],
    data: [
      `"node":"n2","state":"${name}"`,
      `"why":${JSON.stringify(why)}`,
      `"fix":${JSON.stringify(fix)}`,
      `"${name}":1`,
    ],
  };
}

/** At node 2, which sees both others in the same trouble. */
export function troubleWithAll(state: "down" | "degraded" | "left out", whys: readonly string[], fix: string): Told {
  const name = state === "left out" ? "leftOut" : state;
  const begin = "it is the same with all other nodes, so begin with this one: ";
  return {
    status: ["state ready", `peers 2 peers: 2 ${state}`],
    peers: [...whys.map((why) => `is ${state}: ${why} fix: ${begin}`), fix, /exit code 1 $/],
    doctor: [...["n1", "n3"].map((node) => `peers: ${node} is ${state}: `), `fix: ${begin}`, fix],
    readyz: ['200 {"ready":true,"reasons":[],'],
    metrics: ["tartan_ready 1", `tartan_peers{state="${name}"} 2`],
    data: [`"node":"n1","state":"${name}"`, `"node":"n3","state":"${name}"`, begin, fix],
  };
}

/** One more word for views that have some. */
export function and(told: Told, more: Told): Told {
  const views = VIEW_NAMES.map((view) => [view, [...(told[view] ?? []), ...(more[view] ?? [])]]);
  return { ...told, ...more, ...Object.fromEntries(views), never: [...(told.never ?? []), ...(more.never ?? [])] };
}

/** What a node's views lack, or say against the truth, each with its text. */
export function wrongIn(views: Views, { never = [], ...told }: Told): string[] {
  return VIEW_NAMES.flatMap((view) => {
    const text = flat(views[view]);
    const lacks = (told[view] ?? []).filter((words) => !has(text, words)).map((words) => `${view} lacks ${words}`);
    const says = never.filter((words) => has(text, words)).map((words) => `${view} says ${words}`);
    const wrong = [...lacks, ...says];
    return wrong.length === 0 ? [] : [...wrong, views[view]];
  });
}

function has(text: string, words: string | RegExp): boolean {
  return typeof words === "string" ? text.includes(words) : words.test(text);
}
