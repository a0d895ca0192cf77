import type { ExternalInterface } from "../../../config/interface.ts";
import { parseSubnetEnv } from "../../../config/subnet-env.ts";
import { vxlanDeviceName, vxlanMtu } from "../../../desired/vxlan.ts";
import { familiesOf } from "../../../net/family.ts";
import type { PeersView } from "../agent-api.ts";
import { type Check, error, type Finding, orOk, plural, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { readIfThere } from "../files.ts";
import { linkNamed } from "./interfaces.ts";

/** Packets that are too large for the way vanish without a word. */

/** Made by the CNI plugin bridge unless the conflist names another. */
export const BRIDGE = "cni0";

export interface MtuFacts {
  readonly external: Pick<ExternalInterface, "name" | "mtu">;
  /** Backend.MTU */
  readonly configured: number | undefined;
  readonly devices: readonly { readonly name: string; readonly wanted: number; readonly actual: number | undefined }[];
  /** of subnet.env; undefined: there is none */
  readonly subnetEnv: number | undefined;
  /** the bridge of the pods; undefined: there is none */
  readonly bridge: { readonly name: string; readonly mtu: number } | undefined;
  /** names of the nodes to which packets of full size do not come through, and to which they do */
  readonly paths: { readonly failing: readonly string[]; readonly passing: number } | undefined;
}

/** What differs between the underlay, the devices, subnet.env and the pods' bridge. Pure. */
export function judgeMtu({
  external: { name, mtu },
  configured,
  devices,
  subnetEnv,
  bridge,
  paths,
}: MtuFacts): readonly Finding[] {
  const findings: Finding[] = [];
  if (configured !== undefined && configured > mtu) {
    findings.push(
      warning(
        `Backend.MTU is ${configured}, but ${name} carries ${mtu}, and that counts`,
        `ip link set ${name} mtu ${configured}\nor set Backend.MTU to ${mtu} or less`,
      ),
    );
  }
  for (const { name: device, wanted, actual } of devices) {
    if (actual === undefined || actual === wanted) continue;
    const text = `${device} has MTU ${actual} instead of ${wanted}, which ${name} leaves it`;
    findings.push(
      (actual > wanted ? error : warning)(text, `ip link set ${device} mtu ${wanted}\nor restart the agent`),
    );
  }
  const smallest = Math.min(...devices.map(({ wanted }) => wanted));
  if (subnetEnv !== undefined && subnetEnv !== smallest) {
    const text = `FLANNEL_MTU is ${subnetEnv} in subnet.env, but the devices carry ${smallest}`;
    findings.push(
      (subnetEnv > smallest ? error : warning)(text, "restart the agent, which writes subnet.env, then the pods"),
    );
  }
  if (bridge !== undefined && bridge.mtu > smallest) {
    findings.push(
      warning(
        `pods' bridge ${bridge.name} has MTU ${bridge.mtu}, more than the ${smallest} that reach other nodes: it has pods from before`,
        "delete the pods of this node one after the other, so that they are made anew",
      ),
    );
  }
  if (paths !== undefined && paths.failing.length > 0) {
    const some = paths.failing.slice(0, 5).join(", ") + (paths.failing.length > 5 ? ", …" : "");
    findings.push(
      warning(
        `packets of full size do not reach ${plural(paths.failing.length, "node")} (${some}), smaller ones do`,
        `raise the MTU of the network between the nodes, or set Backend.MTU below ${configured ?? mtu}`,
      ),
    );
  }
  const reached =
    paths === undefined || paths.passing === 0 ? "" : `; packets of full size reach ${plural(paths.passing, "node")}`;
  return orOk(findings, `${name} carries ${mtu}, which leaves ${smallest} to pods${reached}`);
}

const mtuOnTheWay: Check = {
  group: "Interfaces",
  name: "mtu",
  find: async (context) => {
    const { backend, ranges } = await context.network();
    const external = await context.external();
    const { links } = context.kernel().actual;
    const devices = familiesOf(ranges).map((family) => {
      const name = vxlanDeviceName(family, backend.vni);
      return { name, wanted: vxlanMtu(backend, external, family), actual: linkNamed(links, name)?.mtu };
    });
    const { answer } = context.settings;
    return judgeMtu({
      external,
      configured: backend.mtu,
      devices,
      subnetEnv: subnetEnvMtu(context),
      bridge: linkNamed(links, BRIDGE),
      paths: answer.peers && pathsOf(answer.peers),
    });
  },
};

function subnetEnvMtu(context: Context): number | undefined {
  try {
    const text = readIfThere(context.hostPath(context.settings.flags.subnetFile));
    return text === undefined ? undefined : parseSubnetEnv(text).mtu;
  } catch {
    // The check of subnet.env says what is wrong with it.
    return undefined;
  }
}

/** What the agent's probes of full size say. */
function pathsOf({ items }: PeersView): MtuFacts["paths"] {
  // What was last seen of a node that does not answer any more says nothing of now.
  const probed = items
    .filter(({ state }) => state !== "down")
    .map(({ node, key, ipv4, ipv6 }) => {
      return { name: node ?? key, passes: [ipv4, ipv6].flatMap((part) => part?.probe?.mtu.passes ?? []) };
    });
  return {
    failing: probed.filter(({ passes }) => passes.includes(false)).map(({ name }) => name),
    passing: probed.filter(({ passes }) => passes.length > 0 && !passes.includes(false)).length,
  };
}

export const MTU_CHECKS = [mtuOnTheWay];
