import type { Peer } from "../../api/peers.ts";
import type { Address } from "../../net/address.ts";

/** What is known of the way of a packet, for the screen and for programs. */

export type StepName =
  | "forwarding"
  | "route"
  | "device"
  | "neighbour"
  | "fdb"
  | "underlay"
  | "source"
  | "mtu"
  | "masquerade";

export interface Step {
  readonly step: StepName;
  /** false: the packet is lost here */
  readonly ok: boolean;
  readonly text: string;
}

/**
 * - `local`: an address of this node itself
 * - `localPod`: one of this node's subnet
 * - `pod`: one of another node's
 * - `outside`: none of the pod network
 */
export type TargetKind = "local" | "localPod" | "pod" | "outside";

/** Why the packet would be lost, and what helps. */
export interface Loss {
  readonly problem: string;
  readonly fix: string;
}

/** The lease that holds the address, as the agent knows it. */
export interface TargetLease {
  readonly key: string;
  readonly node: string | null;
  readonly subnet: string;
  readonly publicIP: string | null;
  readonly vtepMAC: string | null;
  /** this node's own */
  readonly own: boolean;
  /** how that node is in this family; null: it is this one, or that is not known */
  readonly peer: Pick<Peer, "state" | "why" | "fix"> | null;
}

export interface Trace {
  readonly target: Address;
  readonly kind: TargetKind;
  /** undefined: the agent does not answer; null: it knows no lease for it */
  readonly lease: TargetLease | null | undefined;
  readonly steps: readonly Step[];
  readonly loss: Loss | undefined;
  /** where the packet goes, in a sentence, if it is not lost */
  readonly arrives: string;
  /** why it may be lost after that, by the agent's probes */
  readonly beyond: Loss | undefined;
  readonly notes: readonly string[];
}
