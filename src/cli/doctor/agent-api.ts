import * as v from "valibot";
import { DesiredDevice } from "../../api/kernel.ts";
import { Peer, PeerList } from "../../api/peers.ts";
import { Backend, Config, State } from "../../api/state.ts";
import { describeError } from "../../base/errors.ts";
import { formatListenAddress, type ListenAddress } from "../../config/listen-address.ts";

/** milliseconds; an agent answers in some */
const REQUEST_MS = 5_000;

/** What the checks need of `/debug/state`, which an agent of another version has as well. */
const AgentView = v.object({
  ...v.pick(State, ["version", "readiness", "externalInterface", "lease"]).entries,
  config: v.object({
    ...v.pick(Config, ["flags", "network"]).entries,
    backend: v.nullable(v.object({ ...Backend.entries, port: v.nullish(v.number()), mtu: v.nullish(v.number()) })),
  }),
  desired: v.nullable(v.object({ devices: v.array(DesiredDevice) })),
  rules: v.object({ mode: v.picklist(["iptables", "nftables"]), backend: v.nullable(v.string()) }),
});
export type AgentView = v.InferOutput<typeof AgentView>;

const Peers = v.object({ items: v.array(Peer), counts: PeerList.entries.counts });
export type PeersView = v.InferOutput<typeof Peers>;

/** What came of asking an agent. */
export interface AgentAnswer {
  /** where it answers */
  readonly address?: string;
  readonly view?: AgentView;
  /** undefined: it does not tell of peers */
  readonly peers?: PeersView;
  /** why there is no view, one sentence for each address */
  readonly problems: readonly string[];
}

/** Asks the agent at the first of its addresses that answers. */
export async function askAgent(addresses: readonly ListenAddress[]): Promise<AgentAnswer> {
  const problems: string[] = [];
  for (const listening of addresses) {
    const address = formatListenAddress(listening);
    try {
      const response = await get(listening, "/debug/state");
      const view = v.safeParse(AgentView, await response.json());
      if (!response.ok || !view.success) {
        const what = view.success ? `HTTP ${response.status}` : describeIssue(view.issues[0]);
        problems.push(`${address} answers, but not as an agent of tartan does (${what})`);
        continue;
      }
      return { address, view: view.output, ...(await askPeers(listening)), problems };
    } catch (error) {
      problems.push(`${address} does not answer: ${describeError(error)}`);
    }
  }
  return { problems };
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  return `${v.getDotPath(issue) ?? "the document"}: ${issue.message}`;
}

async function askPeers(address: ListenAddress): Promise<{ peers?: PeersView }> {
  const response = await get(address, "/debug/peers?limit=1000");
  if (!response.ok) return {};
  const peers = v.safeParse(Peers, await response.json());
  return peers.success ? { peers: peers.output } : {};
}

function get(address: ListenAddress, path: string): Promise<Response> {
  const signal = AbortSignal.timeout(REQUEST_MS);
  if (address.kind === "unix") return fetch(`http://agent${path}`, { unix: address.path, signal });
  // What listens everywhere is asked here.
  const everywhere: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  const host = everywhere[address.host] ?? address.host;
  return fetch(`http://${formatListenAddress({ ...address, host })}${path}`, { signal });
}
