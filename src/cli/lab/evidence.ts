import { type Address, familyOf } from "../../net/address.ts";
import { FAMILIES, type PerFamily } from "../../net/family.ts";
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
  readonly #lines: PerFamily<string> = {};

  constructor(endpoints: readonly Endpoint[]) {
    this.#publicIPs = new Map(endpoints.map(({ podAddress, publicIP }) => [podAddress, publicIP]));
    const pods = [...this.#publicIPs.keys()];
    const peersOf = (from: Address) => pods.filter((to) => to !== from && familyOf(to) === familyOf(from));
    this.#missing = new Set(pods.flatMap((from) => peersOf(from).map((to) => pairKey(from, to))));
  }

  /** @param time tells when the frame came in, in milliseconds since the epoch; asked only for one that is shown */
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
      this.#lines[familyOf(seen.echo.source)] ??= formatVxlanPing(seen.outer, seen.echo, time());
    }
  }

  /** A request of every pair was seen in VXLAN, from node to node, and none outside of it. */
  get encapsulated(): boolean {
    return this.#missing.size === 0 && !this.#bare;
  }

  /** Of each family the first request seen in VXLAN, as tcpdump would print it, on a line of its own. */
  get lines(): string | undefined {
    const lines = FAMILIES.flatMap((family) => this.#lines[family] ?? []);
    return lines.length === 0 ? undefined : lines.join("\n");
  }
}

function pairKey(from: Address, to: Address): string {
  return `${from} ${to}`;
}
