import * as v from "valibot";
import { dashed, FLAG_NAMES, type FlagName, flagSpec } from "./flag-table.ts";
import { formatListenAddress, type ListenAddress, listenAddressesClash } from "./listen-address.ts";
import { describeFlag, type ParsedFlags } from "./parse-flags.ts";

/** True for a flag that is set to something that asks for an effect. */
function isActive({ given, values }: ParsedFlags, name: FlagName): boolean {
  const { notYet, type } = flagSpec(name);
  if (!given.has(name)) return false;
  if (notYet === undefined) return values[name] !== false;
  return notYet.neutral === undefined || v.parse(type.schema, notYet.neutral) !== values[name];
}

/**
 * What is wrong with flags that are each well-formed: those that this build does not have, and those that exclude each
 * other. One sentence each, in the order in which they matter.
 */
export function flagProblems(parsed: ParsedFlags): string[] {
  const active = FLAG_NAMES.filter((name) => isActive(parsed, name));
  return [
    ...notAvailable(parsed, active),
    ...leaseSourceProblems(active),
    ...needProblems(parsed),
    ...listenProblems(parsed),
  ];
}

function notAvailable({ given }: ParsedFlags, active: readonly FlagName[]): string[] {
  return active.flatMap((name) => {
    const { notYet } = flagSpec(name);
    const source = given.get(name);
    if (notYet === undefined || source === undefined) return [];
    return [describeFlag(source, `is not available in this build${notYet.next ? ` (${notYet.next})` : ""}`)];
  });
}

/** The flags that choose a source; without one it is etcd, as in flanneld. */
const CHOOSERS = ["lease-store", "kube-subnet-mgr"] as const;

function leaseSourceProblems(active: readonly FlagName[]): string[] {
  const chooser = CHOOSERS.find((name) => active.includes(name));
  const chosen = chooser === undefined ? "etcd" : flagSpec(chooser).leaseSource;
  const foreign = active.filter((name) => ![chosen, undefined].includes(flagSpec(name).leaseSource));
  return foreign.map((name) =>
    chooser === undefined
      ? `${dashed(name)} needs --kube-subnet-mgr`
      : `${dashed(chooser)} and ${dashed(name)} exclude each other: leases come from one source`,
  );
}

/** The first of each is of no use without the second. */
const NEEDS = [
  ["etcd-certfile", "etcd-keyfile"],
  ["etcd-keyfile", "etcd-certfile"],
  ["etcd-username", "etcd-password"],
  ["etcd-password", "etcd-username"],
  ["cni-conf-source", "cni-conf-file"],
] as const;

function needProblems({ given }: ParsedFlags): string[] {
  return NEEDS.flatMap(([one, other]) =>
    given.has(one) && !given.has(other) ? [`${dashed(one)} needs ${dashed(other)}`] : [],
  );
}

function listenProblems({ values }: ParsedFlags): string[] {
  const addresses = values["debug-addr"];
  const listeners: { flag: string; address: ListenAddress }[] = [];
  const { "healthz-ip": host, "healthz-port": port } = values;
  if (port > 0) listeners.push({ flag: "--healthz-port", address: { kind: "tcp", host, port } });
  const socket = values["debug-socket"];
  if (socket !== "off") listeners.push({ flag: "--debug-socket", address: { kind: "unix", path: socket } });
  const problems: string[] = [];
  for (const address of addresses) {
    if (address === "off") {
      if (addresses.length > 1) problems.push("--debug-addr=off excludes every other --debug-addr");
      continue;
    }
    const clash = listeners.find((other) => listenAddressesClash(other.address, address));
    const both = clash && [clash.address, address].map(formatListenAddress).join(" and ");
    if (clash) problems.push(`${clash.flag} and --debug-addr can't both listen: ${both} clash`);
    listeners.push({ flag: "--debug-addr", address });
  }
  return [...new Set(problems)];
}
