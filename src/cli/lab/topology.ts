import { writeFileSync } from "node:fs";
import { inNetworkNamespace } from "../../ffi/libc.ts";
import { ADDRESS_BITS, mapFamilies } from "../../net/family.ts";
import { namespacePath } from "./command.ts";
import { addressCommand, ip } from "./ip.ts";
import type { LabHost } from "./lease-plan.ts";
import { inParallel } from "./parallel.ts";
import { hostsOf, type LabPlan } from "./plan.ts";

/** Makes the network namespaces, the switch, and the interfaces of its hosts. Nothing is made in the caller's namespace. */
export async function makeTopology(plan: LabPlan, signal: AbortSignal): Promise<void> {
  await makeNamespaces(plan, signal);
  setKernelParameters(plan);
  await ip(switchCommands(plan), { namespace: plan.switchNamespace, signal });
  await inParallel(hostsOf(plan), { signal }, async (host, either) => {
    const commands = [...hostCommands(host, plan), ...(host === plan.outside ? outsideCommands(plan) : [])];
    await ip(commands, { namespace: host.namespace, signal: either });
  });
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
function hostCommands(host: LabHost, { outside, underlay }: LabPlan): string[] {
  const addresses = mapFamilies(underlay, ({ length }, family) => {
    const address = host.addresses[family];
    return address === undefined ? undefined : addressCommand(address, length, "eth0");
  });
  const routes = mapFamilies(outside.addresses, (gateway) => `route add default via ${gateway} dev eth0`);
  return [
    "link set lo up",
    ...Object.values(addresses),
    "link set eth0 up",
    ...(host === outside ? [] : Object.values(routes)),
  ];
}

/** `ip` commands for the namespace of the nodes' gateway, which has the addresses of the outside itself. */
function outsideCommands({ nodes }: LabPlan): string[] {
  return nodes.flatMap(({ outside }) =>
    Object.values(mapFamilies(outside, (address, family) => addressCommand(address, ADDRESS_BITS[family], "lo"))),
  );
}

/** What the kernel's parameters are in the lab's namespaces, by their files under /proc/sys/net. */
function setKernelParameters(plan: LabPlan): void {
  const { nodes, underlay } = plan;
  if (underlay[6] !== undefined) {
    const all = [...hostsOf(plan).map(({ namespace }) => namespace), ...nodes.map(({ podNamespace }) => podNamespace)];
    // Addresses of interfaces that are made from now on can be used at once: nobody else has them here.
    for (const namespace of all) setKernelParameter(namespace, "ipv6/conf/default/accept_dad", 0);
    for (const { namespace } of nodes) setKernelParameter(namespace, "ipv6/conf/all/forwarding", 1);
  }
  if (underlay[4] !== undefined) {
    for (const { namespace } of nodes) setKernelParameter(namespace, "ipv4/ip_forward", 1);
  }
}

function setKernelParameter(namespace: string, name: string, value: number): void {
  const file = `/proc/sys/net/${name}`;
  try {
    inNetworkNamespace(namespacePath(namespace), () => writeFileSync(file, `${value}\n`));
  } catch (cause) {
    const next = name.startsWith("ipv6") ? ", and a kernel with IPv6 for --family 6 and 46" : "";
    throw new Error(`${file} of ${namespace} can't be set to ${value}; the lab needs a writable /proc/sys${next}`, {
      cause,
    });
  }
}
