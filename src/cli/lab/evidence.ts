import type { Address } from "../../net/address.ts";
import { decodeFrame, formatVxlanPing } from "./vxlan-packet.ts";

/** One end of a pair: a pod's address, and that of its node on the underlay. */
interface Endpoint {
  readonly podAddress: Address;
  readonly publicIP: Address;
}

/** Gathers from frames of the underlay whether the pods' pings travel in VXLAN between their nodes. */
export class OverlayEvidence {
  readonly #publicIPs: ReadonlyMap<Address, Address>;
  readonly #missing: Set<string>;
  #bare = false;
  #line: string | undefined;

  constructor(endpoints: readonly Endpoint[]) {
    this.#publicIPs = new Map(endpoints.map(({ podAddress, publicIP }) => [podAddress, publicIP]));
    const pods = [...this.#publicIPs.keys()];
    this.#missing = new Set(pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => pairKey(from, to))));
  }

  /** @param time tells when the frame came in, in milliseconds since the epoch; asked only for the one that is shown */
  observe(frame: Uint8Array, time: () => number): void {
    const seen = decodeFrame(frame);
    if (seen?.echo.kind !== "request") return;
    const from = this.#publicIPs.get(seen.echo.source);
    const to = this.#publicIPs.get(seen.echo.destination);
    if (from === undefined || to === undefined) return;
    if (seen.outer === undefined) {
      this.#bare = true;
    } else if (seen.outer.source === from && seen.outer.destination === to) {
      this.#missing.delete(pairKey(seen.echo.source, seen.echo.destination));
      this.#line ??= formatVxlanPing(seen.outer, seen.echo, time());
    }
  }

  /** A request of every pair was seen in VXLAN, from node to node, and none outside of it. */
  get encapsulated(): boolean {
    return this.#missing.size === 0 && !this.#bare;
  }

  /** The first request seen in VXLAN, as tcpdump would print it. */
  get line(): string | undefined {
    return this.#line;
  }
}

function pairKey(from: Address, to: Address): string {
  return `${from} ${to}`;
}
