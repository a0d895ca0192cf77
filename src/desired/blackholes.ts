import type { Lease } from "../lease/lease.ts";
import { familiesOf } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";

/**
 * The metric of our blackhole routes: behind that of every other route. A bridge's own route to the same subnet has a
 * lower one (0 for IPv4, 256 for IPv6), and so it stays in use whichever of the two came first.
 */
export const BLACKHOLE_METRIC = 0xffff_fffe;

/**
 * The subnets whose packets are dropped here where nothing on this node takes them, instead of going round by the
 * default route: for pods without a bridge, each with a route of its own (flannel's --ip-blackhole-route).
 */
export function planBlackholes({ subnets }: Pick<Lease, "subnets">, wanted: boolean): Prefix[] {
  if (!wanted) return [];
  return familiesOf(subnets).flatMap((family) => subnets[family] ?? []);
}
