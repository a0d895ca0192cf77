import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { LINUX_VXLAN_PORT } from "../../../config/network.ts";
import { vxlanDeviceName } from "../../../desired/vxlan.ts";
import type { Link } from "../../../kernel/state.ts";
import { FAMILIES, type Family, familiesOf } from "../../../net/family.ts";
import { type Check, error, type Finding, orOk } from "../check.ts";
import { readIfThere } from "../files.ts";

/** Whether somebody else has the UDP port of the encapsulated packets. */

/** Somebody's socket with that port. */
export interface UdpSocket {
  readonly inode: string;
  /** undefined: not to be seen, or the kernel's */
  readonly owner: string | undefined;
}

export interface PortFacts {
  readonly port: number;
  readonly vni: number;
  readonly gbp: boolean;
  /** names of this node's own devices */
  readonly own: readonly string[];
  /** name of the one in a family that the network does not have: it may be left, and is in nobody's way */
  readonly unused: readonly string[];
  readonly links: readonly Pick<Link, "name" | "vxlan" | "up">[];
  readonly sockets: readonly UdpSocket[];
}

/** Pure. */
export function judgePort({ port, vni, gbp, own, unused, links, sockets }: PortFacts): readonly Finding[] {
  const sharing = links.filter(({ vxlan }) => vxlan?.port === port);
  const others = sharing.filter(({ name }) => !own.includes(name) && !unused.includes(name));
  const findings = others.flatMap(({ name, vxlan }) => {
    const fix = `ip link delete ${name}\nor set another Backend.VNI, or Backend.Port, on all nodes`;
    if (vxlan?.vni === vni)
      return [error(`the device ${name} has VNI ${vni} and UDP port ${port}, which ${own.join(" and ")} needs`, fix)];
    if (vxlan !== undefined && vxlan.gbp !== gbp)
      return [
        error(
          `the device ${name} has UDP port ${port} too, and Group Based Policy ${vxlan.gbp ? "on" : "off"}: it can't be shared`,
          fix,
        ),
      ];
    return [];
  });
  // The kernel's own socket belongs to nobody, and is there while a device is up.
  const isExplained = sharing.some(({ up }) => up);
  for (const { owner } of sockets.filter((socket) => socket.owner !== undefined || !isExplained)) {
    const whose = owner ?? "a process that can't be seen from here";
    findings.push(
      error(
        `UDP port ${port} is in use by ${whose}`,
        `stop it (ss -lunp 'sport = :${port}'), or set another Backend.Port on all nodes`,
      ),
    );
  }
  const shared = others.length > 0 ? `, shared with ${others.map(({ name }) => name).join(", ")} of another VNI` : "";
  return orOk(findings, `UDP port ${port} is ${isExplained ? "in use by VXLAN devices alone" : "free"}${shared}`);
}

const vxlanPort: Check = {
  group: "Interfaces",
  name: "vxlan-port",
  find: async (context) => {
    const { backend, ranges } = await context.network();
    const port = backend.port ?? LINUX_VXLAN_PORT;
    const name = (family: Family) => vxlanDeviceName(family, backend.vni);
    const [own, unused] = [familiesOf(ranges).map(name), FAMILIES.filter((family) => !ranges[family]).map(name)];
    const inodes = ["udp", "udp6"].flatMap((table) => boundTo(port, readIfThere(`/proc/self/net/${table}`) ?? ""));
    const owners = inodes.length > 0 ? ownersOf(new Set(inodes)) : new Map<string, string>();
    const sockets = inodes.map((inode) => ({ inode, owner: owners.get(inode) }));
    const links = [...context.kernel().actual.links.values()];
    return judgePort({ port, vni: backend.vni, gbp: backend.gbp, own, unused, links, sockets });
  },
};

/** The inodes of the sockets with that local port. @param text of /proc/net/udp: local_address is the second field, inode the tenth */
export function boundTo(port: number, text: string): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return text.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[1]?.endsWith(`:${hex}`) ? [fields[9] ?? "0"] : [];
  });
}

/** The processes that have these sockets open, as far as they can be seen. */
function ownersOf(inodes: ReadonlySet<string>): Map<string, string> {
  const owners = new Map<string, string>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
        if (inode !== undefined && inodes.has(inode))
          owners.set(inode, `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (process ${pid})`);
      }
    } catch {
      // It ended, or is somebody else's.
    }
  }
  return owners;
}

export const PORT_CHECKS = [vxlanPort];
