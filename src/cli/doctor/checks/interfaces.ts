import { describeError } from "../../../base/errors.ts";
import type { ExternalInterface } from "../../../config/interface.ts";
import type { NetworkConfig } from "../../../config/network.ts";
import { LINUX_VXLAN_PORT } from "../../../config/network.ts";
import { chooseTxChecksum, type TxChecksum } from "../../../desired/tx-checksum.ts";
import { vxlanDeviceName } from "../../../desired/vxlan.ts";
import type { InterfaceAddress, Link } from "../../../kernel/state.ts";
import { ADDRESS_BITS, type Family, familiesOf } from "../../../net/family.ts";
import { type Check, error, type Finding, ok, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";

/** The external interface and this node's VXLAN devices. */

const external: Check = {
  group: "Interfaces",
  name: "external-interface",
  find: async (context) => {
    const network = await context.network();
    try {
      const { name, mtu, addresses } = context.chooseExternal(network);
      return [ok(`${name} with ${Object.values(addresses).join(" and ")}, MTU ${mtu}`)];
    } catch (cause) {
      const fix = "name the interface with --iface, or give it an address or a default route";
      return [error(describeError(cause), fix)];
    }
  },
};

/** How a device should be. */
export interface ExpectedDevice {
  readonly name: string;
  readonly vni: number;
  readonly port: number;
  readonly gbp: boolean;
  readonly learning: boolean;
  /** the source of encapsulated packets */
  readonly local: string | undefined;
  /** undefined: not known */
  readonly mac: string | undefined;
  /** with the length of its prefix; undefined: not known */
  readonly address: string | undefined;
}

/** @param addresses of the device, with the lengths of their prefixes. Pure. */
export function judgeDevice(
  expected: ExpectedDevice,
  link: Link | undefined,
  addresses: readonly string[],
  isAgentHere: boolean,
): Finding {
  const { name } = expected;
  if (link === undefined) {
    return isAgentHere
      ? error(
          `the device ${name} is not there though an agent runs`,
          "see why in the readiness check and in the agent's log",
        )
      : skipped(`the device ${name} is not there yet: the agent makes it`);
  }
  const differences = differencesOf(expected, link, addresses);
  if (differences.length === 0) return ok(`${name} is as it should be`);
  const fix = isAgentHere
    ? "see why the agent does not mend it in the readiness check and in its log; was it restarted with this configuration?"
    : "nothing if tartan is to run here: it mends the device; else remove it: tartan cleanup";
  return (isAgentHere ? error : warning)(`the device ${name}: ${differences.join(", ")}`, fix);
}

function differencesOf(expected: ExpectedDevice, link: Link, addresses: readonly string[]): string[] {
  const { vxlan } = link;
  if (vxlan === undefined) return [`it is of kind ${link.kind || "physical"}, not vxlan`];
  const differences = (["vni", "port", "local", "gbp", "learning"] as const)
    .filter((field) => expected[field] !== undefined && expected[field] !== vxlan[field])
    .map((field) => `${field} is ${vxlan[field]}, not ${expected[field]}`);
  if (!link.up) differences.push("it is down");
  if (expected.mac !== undefined && expected.mac !== link.mac)
    differences.push(`its MAC is ${link.mac}, but the others send to ${expected.mac}`);
  if (expected.address !== undefined && !addresses.includes(expected.address))
    differences.push(`it lacks the address ${expected.address}`);
  return differences;
}

function expectedDevice(
  family: Family,
  { backend }: NetworkConfig,
  found: ExternalInterface,
  context: Context,
): ExpectedDevice {
  const name = vxlanDeviceName(family, backend.vni);
  const told = context.agent?.desired?.devices.find((device) => device.name === name);
  const subnet = context.subnets[family];
  return {
    name,
    vni: backend.vni,
    port: backend.port ?? LINUX_VXLAN_PORT,
    gbp: backend.gbp,
    learning: backend.learning,
    local: found.addresses[family],
    mac: told?.mac ?? undefined,
    address: subnet && `${subnet.address}/${ADDRESS_BITS[family]}`,
  };
}

const device: Check = {
  group: "Interfaces",
  name: "device",
  find: async (context) => {
    const network = await context.network();
    const found = await context.external();
    const { actual } = context.kernel();
    return familiesOf(network.ranges).map((family) => {
      const expected = expectedDevice(family, network, found, context);
      const link = linkNamed(actual.links, expected.name);
      const addresses = link === undefined ? [] : (actual.addresses.get(link.index) ?? []).map(formatAddress);
      return judgeDevice(expected, link, addresses, context.isAgentHere);
    });
  },
};

export function linkNamed(links: ReadonlyMap<number, Link>, name: string): Link | undefined {
  return [...links.values()].find((link) => link.name === name);
}

function formatAddress({ address, length }: InterfaceAddress): string {
  return `${address}/${length}`;
}

/** A device's offload against what is known of kernel and driver. Pure. */
export function judgeTxChecksum(
  name: string,
  { wanted, why }: TxChecksum,
  link: Pick<Link, "txChecksum"> | undefined,
): Finding {
  const onOff = (value: boolean) => (value ? "on" : "off");
  if (wanted === undefined) return ok(`${name}: ${why}`);
  if (link === undefined) return ok(`${name} will be made with it ${onOff(wanted)}: ${why}`);
  if (link.txChecksum === undefined) return skipped(`${name}: the kernel does not tell`);
  if (link.txChecksum === wanted) return ok(`${name} has it ${onOff(wanted)}: ${why}`);
  return warning(
    `checksum offload of ${name} is ${onOff(link.txChecksum)}, and should be ${onOff(wanted)}: ${why}`,
    `ethtool -K ${name} tx-checksum-ip-generic ${onOff(wanted)}`,
  );
}

const txChecksum: Check = {
  group: "Interfaces",
  name: "tx-checksum",
  find: async (context) => {
    const network = await context.network();
    const { name: externalName } = await context.external();
    const { actual, driverOf } = context.kernel();
    const underlay = { kernel: context.features().release, driver: driverOf(externalName) };
    return familiesOf(network.ranges).map((family) => {
      const name = vxlanDeviceName(family, network.backend.vni);
      const choice = chooseTxChecksum(context.settings.flags.vxlanTxChecksum, underlay, family);
      return judgeTxChecksum(name, choice, linkNamed(actual.links, name));
    });
  },
};

export const INTERFACE_CHECKS = [external, device, txChecksum];
