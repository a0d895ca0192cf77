import { isOwnProtocol } from "../../../desired/route-protocol.ts";
import { RTN_UNICAST } from "../../../ffi/constants.ts";
import { isOwnDevice } from "../../../kernel/owned.ts";
import { type Address, parseAddress } from "../../../net/address.ts";
import { familiesOf, mapFamilies, type PerFamily } from "../../../net/family.ts";
import { containsAddress, containsPrefix, formatPrefix, overlaps, type Prefix } from "../../../net/prefix.ts";
import { type Check, error, type Finding, orOk, warning } from "../check.ts";

/** Whether somebody else uses addresses of the pod network. */

export interface OverlapFacts {
  readonly networks: PerFamily<Prefix>;
  /** this node's own, as far as it is known: what leads into it is the CNI plugin's */
  readonly subnets: PerFamily<Prefix>;
  /** of devices that are not ours */
  readonly addresses: readonly { readonly device: string; readonly address: Address }[];
  /** likewise */
  readonly routes: readonly { readonly device: string; readonly destination: Prefix }[];
  /** others' addresses that pods need to tell from their own */
  readonly services: readonly { readonly name: string; readonly address: Address }[];
}

const MOVE = "choose another pod network (Network in net-conf.json, --cluster-cidr), or move what is in the way";

/** Pure. */
export function judgeOverlap({ networks, subnets, addresses, routes, services }: OverlapFacts): readonly Finding[] {
  const findings: Finding[] = [];
  for (const family of familiesOf(networks)) {
    const network = networks[family];
    const own = subnets[family];
    if (network === undefined) continue;
    const name = `the pod network ${formatPrefix(network)}`;
    const inOwn = (address: Address) => own !== undefined && containsAddress(own, address);
    for (const { device, address } of addresses) {
      if (containsAddress(network, address) && !inOwn(address))
        findings.push(error(`${device} has the address ${address} of ${name}`, MOVE));
    }
    for (const { device, destination } of routes) {
      if (!overlaps(network, destination) || (own !== undefined && containsPrefix(own, destination))) continue;
      const route = `the route to ${formatPrefix(destination)} by ${device}`;
      findings.push(
        containsPrefix(network, destination)
          ? error(
              `${route} takes packets of ${name} away`,
              `${MOVE}\nor remove it: ip route del ${formatPrefix(destination)} dev ${device}`,
            )
          : warning(`${route} leads to hosts whose addresses ${name} has as well: this node does not reach them`, MOVE),
      );
    }
    for (const { name: service, address } of services) {
      if (containsAddress(network, address))
        findings.push(
          error(
            `${service} (${address}) lies in ${name}`,
            "give pods and Services networks apart (--cluster-cidr, --service-cluster-ip-range)",
          ),
        );
    }
  }
  const all = familiesOf(networks)
    .map((family) => networks[family])
    .filter((network) => network !== undefined);
  return orOk(findings, `no other address or route of this host lies in ${all.map(formatPrefix).join(" or ")}`);
}

/** By its default name. */
const BRIDGES = /^cni\d+$/;

const overlap: Check = {
  group: "Interfaces",
  name: "overlap",
  find: async (context) => {
    const { ranges } = await context.network();
    const { actual } = context.kernel();
    const { subnets } = context;
    const foreign = new Map(
      [...actual.links.values()]
        // Without a subnet that is known, pods' bridges are taken as they are.
        .filter((link) => !isOwnDevice(link) && !(familiesOf(subnets).length === 0 && BRIDGES.test(link.name)))
        .map(({ index, name }) => [index, name]),
    );
    const addresses = [...actual.addresses].flatMap(([index, list]) =>
      list.flatMap(({ address }) => {
        const device = foreign.get(index);
        return device === undefined ? [] : [{ device, address }];
      }),
    );
    const routes = [...actual.routes.values()].flat().flatMap(({ destination, index, type, protocol }) => {
      const device = foreign.get(index);
      const counts = type === RTN_UNICAST && destination.length > 0 && !isOwnProtocol(protocol);
      return device === undefined || !counts ? [] : [{ device, destination }];
    });
    const api = parseAddress(context.settings.environment["KUBERNETES_SERVICE_HOST"] ?? "");
    const services = api === undefined ? [] : [{ name: "the API server's Service", address: api }];
    const networks = mapFamilies(ranges, ({ network }) => network);
    return judgeOverlap({ networks, subnets, addresses, routes, services });
  },
};

export const OVERLAP_CHECKS = [overlap];
