import type { Family } from "../../net/family.ts";
import { table } from "../table.ts";
import type { LeaseKind } from "./lease-plan.ts";
import type { OutsideResult } from "./outside.ts";
import type { PairResult } from "./pairs.ts";
import type { PingSummary } from "./ping.ts";

/** What a lab found. */
export interface LabReport {
  readonly lease: LeaseReport;
  readonly nodes: readonly NodeReport[];
  readonly pairs: readonly PairResult[];
  readonly encapsulated: boolean;
  /** a packet of each family on the switch, as tcpdump would print it, each on a line */
  readonly capture: string | undefined;
  readonly outside: readonly OutsideResult[];
}

/** Where the agents' leases are. */
export interface LeaseReport {
  readonly source: LeaseKind;
  /** its URL on the underlay, if it is a server */
  readonly server: string | null;
  /** shell commands that show what is in it while the lab stays */
  readonly inspect: readonly string[];
}

export interface NodeReport {
  readonly name: string;
  /** IPv4 first */
  readonly families: readonly NodeFamily[];
  readonly cni: CniReport;
  /** what masquerades and forwards, such as `iptables-nft` */
  readonly rules: string;
  /** has the mesh page at its root */
  readonly debugURL: string;
  /** a shell command that shows it, from its inside, on one screen */
  readonly status: string;
}

/** What attached a node's pod. */
interface CniReport {
  /** types, in the order of the conflist */
  readonly plugins: readonly string[];
  /** path; the node's agent wrote it */
  readonly conflist: string;
  /** where host-local keeps what addresses it has given out */
  readonly addressDir: string;
}

interface NodeFamily {
  readonly family: Family;
  readonly subnet: string;
  readonly podAddress: string;
  readonly publicIP: string;
  readonly vtepMAC: string;
}

/** Marks text for the eye; where there are no colours it returns the text as it is. */
export type Paint = (colour: "green" | "red" | "bold", text: string) => string;

/** What the lab is to show: every pair reached, through VXLAN; pods and the outside reached each other as they should. */
export function succeeded({ pairs, encapsulated, outside }: LabReport): boolean {
  return encapsulated && pairs.every(({ received }) => received > 0) && outside.every(({ ok }) => ok);
}

/** One JSON document. A node's first family is at the node itself, too. */
export function reportJson({ lease, nodes, pairs, encapsulated, capture, outside }: LabReport): string {
  const flat = nodes.map(({ name, families, ...rest }) => {
    const [first] = families;
    const { subnet, podAddress, publicIP, vtepMAC } = first ?? {};
    return { name, subnet, podAddress, publicIP, vtepMAC, families, ...rest };
  });
  return `${JSON.stringify({ lease, nodes: flat, pairs, encapsulated, capture: capture ?? null, outside }, null, 2)}\n`;
}

export function reportText(report: LabReport, paint: Paint): string {
  const { lease, nodes, capture } = report;
  const sections = [
    headed(nodeTable(report), paint),
    [paint("bold", "LEASES"), describeSource(lease)],
    [paint("bold", "PODS"), describeAttachment(nodes)],
    pairTable(report, paint),
    outsideTable(report, paint),
    [paint("bold", "ON THE WIRE, BETWEEN THE NODES"), capture ?? paint("red", "no VXLAN packet was seen")],
    [
      paint("bold", "TO LOOK INSIDE, WHILE THE LAB RUNS"),
      ...nodes
        .slice(0, 1)
        .flatMap(({ name, debugURL, status }) => [
          `${debugURL}/ in a browser is the mesh page: how ${name} sees the others`,
          status,
        ]),
      ...nodes.map(({ debugURL }) => `curl ${debugURL}/debug/state`),
      ...nodes.slice(0, 1).flatMap(({ cni }) => [`cat ${cni.conflist}`, `head ${cni.addressDir}/*`]),
      ...lease.inspect,
    ],
    verdict(report).map((line) => paint(succeeded(report) ? "green" : "red", line)),
  ];
  return `${sections.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

const SOURCES: Readonly<Record<LeaseKind, string>> = {
  embedded: "in a file that the agents share",
  etcd: "in etcd",
  kube: "in Kubernetes' Nodes",
};

function describeSource({ source, server }: LeaseReport): string {
  return server === null ? SOURCES[source] : `${SOURCES[source]}, at ${server}`;
}

function describeAttachment(nodes: readonly NodeReport[]): string {
  const lists = new Set(nodes.map(({ cni }) => cni.plugins.join(" and ")));
  return `attached by the CNI plugins ${[...lists].join("; or ")}, from the conflist that each agent wrote`;
}

function headed([head = "", ...rows]: readonly string[], paint: Paint): string[] {
  return [paint("bold", head), ...rows];
}

function nodeTable({ nodes }: LabReport): string[] {
  const titles = ["NODE", "SUBNET", "POD ADDRESS", "PUBLIC ADDRESS", "VTEP MAC", "RULES", "DEBUG URL"].map((title) => ({
    title,
  }));
  const rows = nodes.flatMap(({ name, families, rules, debugURL }) =>
    families.map(({ subnet, podAddress, publicIP, vtepMAC }, at) => [
      name,
      subnet,
      podAddress,
      publicIP,
      vtepMAC,
      ...(at === 0 ? [rules, debugURL] : []),
    ]),
  );
  return table(titles, rows);
}

const PING_TITLES = ["SENT", "RECEIVED", "LOSS", "RTT"].map((title) => ({ title, align: "right" }) as const);

function pingCells({ sent, received, rttMs }: PingSummary): string[] {
  const loss = sent === 0 ? "-" : `${Math.round((100 * (sent - received)) / sent)} %`;
  return [`${sent}`, `${received}`, loss, rttMs === null ? "-" : `${rttMs.toFixed(3)} ms`];
}

const ENDS = [{ title: "FROM" }, { title: "TO" }, { title: "FAMILY" }];

function pairTable({ pairs }: LabReport, paint: Paint): string[] {
  const rows = pairs.map((pair) => [pair.from, pair.to, `IPv${pair.family}`, ...pingCells(pair)]);
  const bad = pairs.map(({ sent, received }) => received < sent);
  return painted(table([...ENDS, ...PING_TITLES], rows), bad, paint);
}

function outsideTable({ outside }: LabReport, paint: Paint): string[] {
  const rows = outside.map((one) => [...endsOf(one), `IPv${one.family}`, ...pingCells(one), one.sourceSeen ?? "-"]);
  const bad = outside.map(({ ok, sent, received }) => !ok || received < sent);
  return painted(table([...ENDS, ...PING_TITLES, { title: "SEEN AS" }], rows), bad, paint);
}

function endsOf({ node, direction }: OutsideResult): [from: string, to: string] {
  return direction === "out" ? [node, "outside"] : ["outside", node];
}

function painted([head = "", ...lines]: readonly string[], bad: readonly boolean[], paint: Paint): string[] {
  return [paint("bold", head), ...lines.map((line, at) => (bad[at] ? paint("red", line) : line))];
}

function verdict(report: LabReport): string[] {
  const { pairs, encapsulated, outside } = report;
  if (succeeded(report)) {
    return [
      `All ${pairs.length} pairs reached, through VXLAN.`,
      "Every pod reached the outside by its node's address, and the outside every pod by its own.",
    ];
  }
  const describe = (from: string, to: string, family: Family) => `${from} to ${to} (IPv${family})`;
  const lost = [
    ...pairs.filter(({ received }) => received === 0).map(({ from, to, family }) => describe(from, to, family)),
    ...outside.filter(({ reached }) => !reached).map((one) => describe(...endsOf(one), one.family)),
  ];
  const mistaken = outside.filter(({ reached, ok }) => reached && !ok);
  return [
    ...(lost.length > 0 ? [`Not reached: ${lost.join(", ")}.`] : []),
    ...(encapsulated ? [] : ["Not every pair was seen in VXLAN on the switch."]),
    ...mistaken.map(
      (one) =>
        `${describe(...endsOf(one), one.family)} was seen as ${one.sourceSeen ?? "nothing"} instead of ${one.sourceWanted}.`,
    ),
  ];
}
