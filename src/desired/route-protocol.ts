import type { Prefix } from "../net/prefix.ts";

/**
 * Route protocol numbers of tartan: 112 to 127, unassigned in iproute2's rt_protos.
 *
 * One number would do to know our routes again. But the kernel finds a route's next hop in a hash over protocol, device
 * and a few more that are the same for all of ours, not over the gateway: with one number, each new route among 5,000
 * walks a chain of 5,000 (0.45 s for all; with sixteen numbers 0.05 s).
 */
const PROTOCOL_BASE = 0x70;
const PROTOCOL_COUNT = 16;

/** The protocol number of the route to `destination`: always the same for one destination. */
export function routeProtocol(destination: Prefix): number {
  let hash = 0;
  for (let i = 0; i < destination.address.length; i++) hash = (hash * 31 + destination.address.charCodeAt(i)) | 0;
  return PROTOCOL_BASE + ((hash >>> 0) % PROTOCOL_COUNT);
}

export function isOwnProtocol(protocol: number): boolean {
  return protocol >= PROTOCOL_BASE && protocol < PROTOCOL_BASE + PROTOCOL_COUNT;
}
