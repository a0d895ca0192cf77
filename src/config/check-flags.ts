import * as v from "valibot";
import { dashed, FLAG_NAMES, type FlagName, flagSpec } from "./flag-table.ts";
import { formatListenAddress, type ListenAddress, listenAddressesClash } from "./listen-address.ts";
import { describeFlag, type ParsedFlags } from "./parse-flags.ts";

/** True for a flag that is set to something that asks for an effect. */
function isActive({ given, values }: ParsedFlags, name: FlagName): boolean {
  const { notYet, type } = flagSpec(name);
  if (!given.has(name)) return false;
  return notYet?.neutral === undefined || v.parse(type.schema, notYet.neutral) !== values[name];
}

/**
 * What is wrong with flags that are each well-formed: those that this build does not have, and those that exclude each
 * other. One sentence each, in the order in which they matter.
 */
export function flagProblems(parsed: ParsedFlags): string[] {
  const active = FLAG_NAMES.filter((name) => isActive(parsed, name));
  return [...notAvailable(parsed, active), ...leaseSourceProblems(active), ...listenProblems(parsed)];
}

function notAvailable({ given }: ParsedFlags, active: readonly FlagName[]): string[] {
  return active.flatMap((name) => {
    const { notYet, leaseSource } = flagSpec(name);
    const source = given.get(name);
    if (notYet === undefined || source === undefined) return [];
    // Whoever has --lease-store already is told below that the two exclude each other.
    const next = leaseSource !== undefined && active.includes("lease-store") ? undefined : notYet.next;
    return [describeFlag(source, `is not available in this build${next ? ` (${next})` : ""}`)];
  });
}

function leaseSourceProblems(active: readonly FlagName[]): string[] {
  const others = active.filter((name) => !["embedded", undefined].includes(flagSpec(name).leaseSource));
  if (active.includes("lease-store")) {
    return others.map((name) => `--lease-store and ${dashed(name)} exclude each other: leases come from one source`);
  }
  if (active.includes("kube-subnet-mgr")) return [];
  return [
    "there is no lease source: flanneld's default, etcd, is not available in this build; give --lease-store=PATH",
  ];
}

function listenProblems({ values }: ParsedFlags): string[] {
  const addresses = values["debug-addr"];
  const listeners: { flag: string; address: ListenAddress }[] = [];
  const { "healthz-ip": host, "healthz-port": port } = values;
  if (port > 0) listeners.push({ flag: "--healthz-port", address: { kind: "tcp", host, port } });
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
