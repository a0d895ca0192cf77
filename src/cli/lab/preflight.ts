import { existsSync, readFileSync } from "node:fs";
import { requirePlugins } from "./cni/plugins.ts";
import { requireTools } from "./command.ts";
import type { LabShape } from "./plan.ts";

/** Bits of a capability set (linux/capability.h). */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21 } as const;

/** What the agents look for, too: without it packets between pods of one node pass iptables by. */
const BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/** @throws Error with one line that says why no lab can be made here, and what to do */
export function requireLabCanRun({ lease, rules }: LabShape): void {
  if (process.getuid?.() !== 0) throw new Error("the lab makes network namespaces, which needs root: run it with sudo");
  const missing = missingCapabilities(readFileSync("/proc/self/status", "utf8"));
  if (missing.length > 0) {
    const next = "run the lab on a host, or in a container with all capabilities (docker run --privileged)";
    throw new Error(`no lab can be made here, since this root lacks ${missing.join(", ")}: ${next}`);
  }
  requireTools(lease === "kube" ? ["openssl"] : []);
  requirePlugins();
  if (rules === "iptables" && !existsSync(BRIDGE_FILTER)) {
    throw new Error(
      `${BRIDGE_FILTER} is missing, and rules by iptables need it: modprobe br_netfilter, or --rules nft`,
    );
  }
}

/** @param status text of /proc/PID/status */
export function missingCapabilities(status: string): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return Object.entries(CAPABILITIES).flatMap(([name, bit]) => ((effective >> BigInt(bit)) & 1n ? [] : [name]));
}
