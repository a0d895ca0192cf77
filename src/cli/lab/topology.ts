import { writeFileSync } from "node:fs";
import { inNetworkNamespace } from "../../ffi/libc.ts";
import { namespacePath } from "./command.ts";
import { ip } from "./ip.ts";
import type { LabHost } from "./lease-plan.ts";
import { inParallel } from "./parallel.ts";
import { hostsOf, type LabPlan } from "./plan.ts";

/** Makes the network namespaces, the switch, and the interfaces of nodes and server. Nothing is made in the caller's namespace. */
export async function makeTopology(plan: LabPlan, signal: AbortSignal): Promise<void> {
  await makeNamespaces(plan, signal);
  await ip(switchCommands(plan), { namespace: plan.switchNamespace, signal });
  await inParallel(hostsOf(plan), { signal }, async (host, either) => {
    await ip(hostCommands(host, plan), { namespace: host.namespace, signal: either });
  });
  for (const node of plan.nodes) forwardPackets(node);
}

async function makeNamespaces(plan: LabPlan, signal: AbortSignal): Promise<void> {
  const ofHosts = hostsOf(plan).map(({ namespace }) => namespace);
  const names = [plan.switchNamespace, ...ofHosts, ...plan.nodes.map(({ podNamespace }) => podNamespace)];
  try {
    await ip(
      names.map((name) => `netns add ${name}`),
      { signal },
    );
  } catch (cause) {
    signal.throwIfAborted();
    const next = "run the lab on a host, or in a container that may make them (docker run --privileged)";
    throw new Error(`network namespaces can't be made here: ${next}`, { cause });
  }
}

/** `ip` commands for the switch's namespace: a bridge with one port for each host. */
function switchCommands(plan: LabPlan): string[] {
  return [
    "link set lo up",
    "link add br0 type bridge",
    "link set br0 up",
    ...hostsOf(plan).flatMap(({ name, namespace }) => [
      `link add ${name} type veth peer name eth0 netns ${namespace}`,
      `link set ${name} master br0 up`,
    ]),
  ];
}

/** `ip` commands for a host's namespace. */
function hostCommands({ address }: LabHost, { gateway, underlay }: LabPlan): string[] {
  return [
    "link set lo up",
    `address add ${address}/${underlay.length} broadcast + dev eth0`,
    "link set eth0 up",
    `route add default via ${gateway} dev eth0`,
  ];
}

function forwardPackets({ namespace }: LabHost): void {
  const file = "/proc/sys/net/ipv4/ip_forward";
  try {
    inNetworkNamespace(namespacePath(namespace), () => writeFileSync(file, "1\n"));
  } catch (cause) {
    throw new Error(`${file} of ${namespace} can't be set to 1; the lab needs a writable /proc/sys`, { cause });
  }
}
