import * as v from "valibot";
import type { Peer } from "../../api/peers.ts";
import { FamilyName } from "../../api/values.ts";
import { AgentAwayError, describeError } from "../../base/errors.ts";
import { mustBe } from "../../config/schema.ts";
import { AGENT_OPTIONS, AgentClient, type ResourceOf } from "../client.ts";
import { kernelPeers } from "../kernel-peers.ts";
import { LocalNode, ownDevices } from "../local-node.ts";
import { type CommandSpec, HELP, optionsHelp, parseOptions, SWITCH } from "../options.ts";
import { paintedTable, plural, print, printJson, remark, type Screen, screenOf, TABLE_OUTPUT } from "../output.ts";
import { countsLine, STATE_WORDS } from "../peer-words.ts";
import { canDraw, wrap } from "../table.ts";
import {
  FAMILY_OF,
  isInTrouble,
  KERNEL_PEER_COLUMNS,
  kernelPeerRow,
  PEER_COLUMNS,
  peerRow,
  WIDE_PEER_COLUMNS,
  widePeerRows,
} from "./rows.ts";
import { watchPeers } from "./watch.ts";

/** `tartan peers`: the other nodes as this one sees them. */

const OPTIONS = {
  node: { value: "NAME", usage: "only this node: its name, or its lease's key", schema: v.optional(v.string()) },
  family: {
    value: "FAMILY",
    usage: "only ipv4 or ipv6",
    schema: v.optional(v.picklist(FamilyName.options, mustBe("ipv4 or ipv6"))),
  },
  watch: { short: "w", usage: "go on: draw again on a terminal, elsewhere a line a change", schema: SWITCH },
  output: TABLE_OUTPUT,
  ...AGENT_OPTIONS,
  help: HELP,
};
export const PEERS: CommandSpec = { options: OPTIONS, args: {} };
/** of peers in trouble */
const MOST_ADVICE = 3;

type Options = ReturnType<typeof parse>;

const TEXT = `Usage: tartan peers [OPTION]...

Shows every other node as this one sees it, trouble first: whether it is in the
kernel, whether it answers through the overlay, packets lost, round-trip time,
and why it is not up. If the agent does not answer it shows what the kernel has:
each node's route, neighbour and forwarding entry, and which of them is missing.

Options:
${optionsHelp(OPTIONS)}

Examples:
  tartan peers
  tartan peers --watch
  tartan peers --node n2 -o wide

Exit code: 0 none is in trouble; 1 some are down, not programmed, left out or
degraded; 2 wrong options; 3 the agent does not answer, and the kernel lacks
nothing.
`;

const parse = (args: readonly string[]) => parseOptions(OPTIONS, args);

/** @returns the exit code @throws UsageError, KernelError, Error with what the agent answers */
export async function runPeers(args: readonly string[]): Promise<number> {
  const options = parse(args);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  const agent = new AgentClient(options);
  const look = () => agent.list("peers", { node: options.node, family: options.family });
  const screenNow = () => screenOf(process.stdout, options.output === "wide");
  const screen = screenNow();
  if (options.watch) {
    return watchPeers(
      {
        look,
        screen: (list, height) =>
          options.output === "json"
            ? list.items.map((peer) => `${JSON.stringify(peer)}\n`).join("")
            : // A terminal may get another width meanwhile.
              `${listText(list, options, screenNow(), height).join("\n")}\n`,
        change: (peer, before) => (options.output === "json" ? JSON.stringify(peer) : changeLine(peer, before)),
      },
      options.output !== "json" && canDraw(process.stdout, process.env) ? process.stdout : undefined,
    );
  }
  try {
    return await show(await look(), options, screen);
  } catch (error) {
    if (!(error instanceof AgentAwayError)) throw error;
    return showKernel(error, options, screen);
  }
}

async function show(list: ResourceOf<"peers">, options: Options, screen: Screen): Promise<number> {
  if (options.output === "json") await printJson(list);
  else await print(`${listText(list, options, screen).join("\n")}\n`);
  return list.items.some(({ state }) => isInTrouble(state)) ? 1 : 0;
}

/** The table and what to do, as much of it as there is room for, and what there is in numbers. */
export function listText(
  { items, counts, probeIntervalMs }: ResourceOf<"peers">,
  { node, output }: Pick<Options, "node" | "output">,
  screen: Screen,
  height = Number.POSITIVE_INFINITY,
): string[] {
  const lines = items.length === 0 ? [] : peerTable(items, screen, output === "wide");
  const advice = output === "wide" ? [] : adviceLines(items, screen);
  const probes = probeIntervalMs === null ? "not probed" : `probed every ${probeIntervalMs / 1000} s`;
  const end = node === undefined ? [`${countsLine(counts)}${items.length > 0 ? `; ${probes}` : ""}`] : [];
  const room = height - end.length;
  if (lines.length + advice.length <= room) return [...lines, ...advice, ...end];
  if (lines.length <= room) return [...lines, ...end];
  return [...lines.slice(0, room - 1), `… and ${lines.length - room + 1} more lines`, ...end];
}

export function peerTable(peers: readonly Peer[], screen: Screen, wide: boolean): string[] {
  const now = Date.now();
  return wide
    ? paintedTable(
        WIDE_PEER_COLUMNS,
        peers.flatMap((peer) => widePeerRows(peer, now)),
        screen,
      )
    : paintedTable(
        PEER_COLUMNS,
        peers.map((peer) => peerRow(peer, now)),
        screen,
      );
}

/** Of the first in trouble in full why, for which a row has no room, and what to do about it. */
function adviceLines(peers: readonly Peer[], { paint, width }: Screen): string[] {
  const bad = peers.filter(({ state }) => isInTrouble(state));
  const lines = bad.slice(0, MOST_ADVICE).flatMap(({ node, key, state, why, fix }) => {
    const [first = "", ...more] = wrap(
      `${node ?? key} is ${STATE_WORDS[state]}${why === null ? "" : `: ${why}`}`,
      width - 2,
    );
    const help = fix === null ? [] : wrap(`fix: ${fix}`, width - 2);
    return [paint("bold", first), ...[...more.map((line) => paint("bold", line)), ...help].map((line) => `  ${line}`)];
  });
  const rest = bad.length - MOST_ADVICE;
  if (rest > 0) lines.push(`… and ${rest} more in trouble: tartan peers -o wide`);
  return lines.length === 0 ? [] : ["", ...lines, ""];
}

function changeLine(peer: Peer, before: Peer | undefined): string {
  const time = new Date().toISOString();
  const from = before === undefined || before.state === peer.state ? "" : `${before.state} -> `;
  return `${time}  ${peer.node ?? peer.key}  ${from}${peer.state}${peer.why === null ? "" : `  ${peer.why}`}`;
}

async function showKernel(away: AgentAwayError, { output, family, node }: Options, screen: Screen): Promise<number> {
  if (node !== undefined) throw new AgentAwayError("the kernel does not know nodes' names", { cause: away });
  using local = new LocalNode();
  const actual = local.read();
  const peers = kernelPeers(actual).filter((peer) => family === undefined || peer.family === FAMILY_OF[family]);
  remark(describeError(away));
  if (output === "json") await printJson({ agentAnswers: false, kernel: peers });
  else if (ownDevices(actual).length === 0) await print("The kernel has no VXLAN device of tartan or flannel.\n");
  else {
    const incomplete = peers.filter(({ missing }) => missing.length > 0).length;
    const lines = peers.length > 0 ? paintedTable(KERNEL_PEER_COLUMNS, peers.map(kernelPeerRow), screen) : [];
    lines.push(
      `${plural(peers.length, "peer")} in the kernel, ${incomplete} incomplete; no agent tells whether it is all`,
    );
    if (incomplete > 0) lines.push("start the agent, which adds what is missing; by hand: tartan trace ADDRESS");
    await print(`${lines.join("\n")}\n`);
  }
  return peers.some(({ missing }) => missing.length > 0) ? 1 : 3;
}
