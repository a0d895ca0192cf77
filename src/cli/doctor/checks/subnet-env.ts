import { describeError } from "../../../base/errors.ts";
import { parseSubnetEnv, type SubnetEnv } from "../../../config/subnet-env.ts";
import { FAMILIES, familiesOf, mapFamilies, type PerFamily } from "../../../net/family.ts";
import { formatPrefix, nthAddress, type Prefix, parsePrefix, samePrefix } from "../../../net/prefix.ts";
import { type Check, error, type Finding, ok, orOk, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { readIfThere } from "../files.ts";
import { linkNamed } from "./interfaces.ts";
import { BRIDGE } from "./mtu.ts";

/** The file by which the CNI plugin learns this node's subnet, and what was made from it. */

export interface SubnetEnvFacts {
  readonly path: string;
  /** undefined: there is no file */
  readonly text: string | undefined;
  readonly isAgentHere: boolean;
  /** of the agent's lease; empty: not known */
  readonly lease: PerFamily<Prefix>;
  /** the pod network; empty: not known */
  readonly networks: PerFamily<Prefix>;
  /** names of devices that are there */
  readonly present: readonly string[];
}

/** Pure. */
export function judgeSubnetEnv({
  path,
  text,
  isAgentHere,
  lease,
  networks,
  present,
}: SubnetEnvFacts): readonly Finding[] {
  const mend = isAgentHere
    ? "see why the agent does not write it in the readiness check and in its log"
    : `start the agent, which writes it, or remove it: rm ${path}`;
  if (text === undefined) {
    return isAgentHere
      ? [error(`${path} is not there though an agent runs: pods can't be made`, mend)]
      : [skipped(`${path} is not there yet: the agent writes it`)];
  }
  let env: SubnetEnv;
  try {
    env = parseSubnetEnv(text);
  } catch (cause) {
    return [error(`${path} can't be used, so pods can't be made: ${describeError(cause)}`, mend)];
  }
  const findings: Finding[] = [];
  for (const family of FAMILIES) {
    const [wanted, subnet] = [lease[family], env.subnets[family]];
    if (wanted !== undefined && (subnet === undefined || !samePrefix(wanted, subnet))) {
      const has = subnet === undefined ? `no IPv${family} subnet` : formatPrefix(subnet);
      findings.push(error(`${path} has ${has}, but the lease is of ${formatPrefix(wanted)}`, mend));
    }
    const network = networks[family];
    if (network !== undefined && !env.networks.some((one) => samePrefix(one, network)))
      findings.push(
        warning(
          `${path} lacks the pod network ${formatPrefix(network)}`,
          isAgentHere ? "restart the agent with this configuration" : mend,
        ),
      );
  }
  for (const device of env.devices.filter((name) => !present.includes(name)))
    findings.push((isAgentHere ? error : warning)(`the device ${device} that ${path} names is not there`, mend));
  const subnets = familiesOf(env.subnets)
    .map((family) => env.subnets[family])
    .filter((subnet) => subnet !== undefined);
  return orOk(findings, `${path} has ${subnets.map(formatPrefix).join(" and ")}, MTU ${env.mtu}`);
}

const subnetEnv: Check = {
  group: "CNI",
  name: "subnet-env",
  find: async (context) => {
    const path = context.hostPath(context.settings.flags.subnetFile);
    const { ipv4, ipv6 } = context.agent?.lease ?? {};
    const network = await context.network().catch(() => undefined);
    return judgeSubnetEnv({
      path,
      text: readIfThere(path),
      isAgentHere: context.isAgentHere,
      lease: mapFamilies({ 4: ipv4?.subnet ?? "", 6: ipv6?.subnet ?? "" }, parsePrefix),
      networks: mapFamilies(network?.ranges ?? {}, (range) => range.network),
      present: [...context.kernel().actual.links.values()].map(({ name }) => name),
    });
  },
};

/** @param addresses of the bridge; @param subnets this node's. Pure. */
export function judgeBridgeAddresses(
  name: string,
  addresses: readonly { address: string; length: number }[],
  subnets: PerFamily<Prefix>,
): readonly Finding[] {
  const findings = familiesOf(subnets).flatMap((family) => {
    const subnet = subnets[family];
    const own = addresses.filter(
      ({ address }) => address.includes(":") === (family === 6) && !address.startsWith("fe80:"),
    );
    if (subnet === undefined || own.length === 0) return [];
    const wanted = nthAddress(subnet, 1n);
    if (own.some(({ address }) => address === wanted)) return [];
    const has = own.map(({ address, length }) => `${address}/${length}`).join(" and ");
    return [
      error(
        `${name} has ${has}, but this node's subnet is ${formatPrefix(subnet)}: no pod can be made ("already has an IP address different from")`,
        `ip link delete ${name}\nthen delete the pods of this node, so that they are made anew`,
      ),
    ];
  });
  return orOk(findings, `${name} has the address of this node's subnet, or none yet`);
}

const bridge: Check = {
  group: "CNI",
  name: "bridge",
  find: (context: Context) => {
    const { links, addresses } = context.kernel().actual;
    const link = linkNamed(links, BRIDGE);
    if (link === undefined) return [ok(`${BRIDGE} is not there yet: the first pod brings it`)];
    if (familiesOf(context.subnets).length === 0) return [skipped("this node's subnet is not known")];
    return judgeBridgeAddresses(BRIDGE, addresses.get(link.index) ?? [], context.subnets);
  },
};

export const SUBNET_CHECKS = [subnetEnv, bridge];
