import { BLACKHOLE_METRIC } from "../desired/blackholes.ts";
import type { Desired } from "../desired/desired.ts";
import { isOwnProtocol, routeProtocol } from "../desired/route-protocol.ts";
import { RTN_BLACKHOLE, RTPROT_BOOT } from "../ffi/constants.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import { routeKey } from "./mirror.ts";
import type { BlackholeOperation } from "./operations.ts";
import { DEFAULT_METRIC, type Route } from "./state.ts";

/** The key under which the copy of the kernel's state has our blackhole route. */
export function blackholeKey(destination: Prefix): string {
  return routeKey({ destination, priority: BLACKHOLE_METRIC, tos: 0 });
}

/** What is to be done so that a wanted blackhole route is there. */
export function addBlackhole(destination: Prefix, present: readonly Route[] | undefined): BlackholeOperation[] {
  const [first] = present ?? [];
  const protocol = routeProtocol(destination);
  if (first?.type === RTN_BLACKHOLE && first.protocol === protocol) return [];
  const why = first === undefined ? "it is missing" : `another route stands there (protocol ${first.protocol})`;
  return [{ kind: "blackhole-replace", destination, metric: BLACKHOLE_METRIC, protocol, why }];
}

/**
 * Which blackhole routes of one key go: ours that are not wanted, and the one that flanneld left for the same subnet,
 * which would stand in the way of a bridge.
 */
export function removeBlackholes(
  key: string,
  present: readonly Route[],
  { blackholes }: Desired,
): BlackholeOperation[] {
  const remove = ({ destination, priority: metric, protocol }: Route, why: string): BlackholeOperation => ({
    kind: "blackhole-delete",
    destination,
    metric,
    protocol,
    why,
  });
  return present
    .filter(({ type, tos }) => type === RTN_BLACKHOLE && tos === 0)
    .flatMap((route) => {
      if (route.priority === BLACKHOLE_METRIC && isOwnProtocol(route.protocol)) {
        const wanted = blackholes.some((destination) => blackholeKey(destination) === key);
        return wanted ? [] : [remove(route, "it is not wanted")];
      }
      const isFlanneld = route.protocol === RTPROT_BOOT && route.priority === DEFAULT_METRIC[route.family];
      const replaced = blackholes.some((destination) => formatPrefix(destination) === key);
      return isFlanneld && replaced ? [remove(route, "flanneld left it, and ours stands in its place")] : [];
    });
}
