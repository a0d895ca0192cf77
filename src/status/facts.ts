import type { Verdict } from "../api/peers.ts";
import type { HistogramFacts } from "../base/histogram.ts";
import type { LowestLevel } from "../base/log.ts";
import type { ExternalInterface } from "../config/interface.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { Desired } from "../desired/desired.ts";
import type { Actual } from "../kernel/mirror.ts";
import type { Operation } from "../kernel/operations.ts";
import type { Lease, Snapshot } from "../lease/lease.ts";
import type { LeaseSourceKind, SourceContact } from "../lease/source.ts";
import type { Family, PerFamily } from "../net/family.ts";
import type { PeerFacts, Trouble } from "../probe/engine.ts";
import type { PathTotals } from "../probe/totals.ts";
import type { Deviations } from "../rules/compare.ts";
import type { FamilyRules } from "../rules/desired.ts";
import type { EventLog } from "./event-log.ts";

/**
 * What the agent knows of itself at one moment. Times are milliseconds since the epoch, durations milliseconds. It is made
 * for each request and each turn of the loop, so nothing is copied into it: `actual` and `events` are the living ones.
 */
export interface Facts {
  readonly version: string;
  readonly node?: string;
  readonly now: number;
  readonly startedAt: number;
  readonly flags: Readonly<Record<string, unknown>>;
  readonly network?: NetworkConfig;
  readonly networkWarnings: readonly string[];
  readonly external?: ExternalInterface;
  readonly source: { readonly kind: LeaseSourceKind; readonly location: string; readonly contact: SourceContact };
  readonly own?: Lease;
  /** what is wrong with the own lease, though there is one */
  readonly leaseProblem?: string;
  /** the last complete snapshot that has our own lease */
  readonly snapshot?: Snapshot;
  /** records that were rejected since the start */
  readonly rejections: number;
  readonly desired?: Desired;
  /** the kernel's state as known; undefined while it is to be read again */
  readonly actual?: Actual;
  /** whether the kernel is known to be as desired, down to each entry, so that nobody has to look at them */
  readonly asDesired: boolean;
  /** What a reconcile would do now; nothing while the kernel is as desired. Worked out when it is called. */
  diff(): readonly Operation[];
  /** what keeps the agent from going on, by part; in the order in which the parts follow each other */
  readonly problems: readonly Finding[];
  readonly loop: LoopFacts;
  readonly kernel: KernelFacts;
  /** undefined: somebody else gives the container runtime its CNI configuration */
  readonly cniConf?: CniConfFacts;
  readonly rules: RulesFacts;
  /** undefined: they are off */
  readonly probes?: ProbesFacts;
  readonly logLevel: LowestLevel;
  readonly events: EventLog;
}

/** How the peers answer. */
export interface ProbesFacts {
  readonly intervalMs: number;
  /** why nothing is probed all the same */
  readonly problem?: string;
  /** of a peer, by its lease's key; undefined while it is not probed; cheap, as it is asked of every peer */
  verdict(key: string, family: Family): Verdict | undefined;
  /** likewise, all that is known of one */
  of(key: string, family: Family): PeerFacts | undefined;
  /** the trouble that all peers, two or more, are in; undefined where they differ */
  everywhere(family: Family): Verdict | undefined;
  /** all probes since the start */
  totals(): readonly PathTotals[];
  /** the peers that are not reachable as they should be: how many of how many, and at most `most` of them */
  troubled(most: number): { readonly total: number; readonly of: number; readonly first: readonly Trouble[] };
}

/** One thing that is not right, and where. */
export interface Finding {
  readonly condition: Condition;
  readonly message: string;
}

export const CONDITIONS = [
  "config",
  "interface",
  "lease",
  "snapshot",
  "device",
  "subnetFile",
  "kernel",
  "rules",
  "leaseSource",
  "peers",
  "cni",
  "shutdown",
] as const;
export type Condition = (typeof CONDITIONS)[number];

/** The CNI configuration that the agent keeps in the container runtime's folder. */
export interface CniConfFacts {
  readonly source: string;
  readonly file: string;
  /** whether the container runtime has it from this start of the agent */
  readonly written: boolean;
  /** how often it was looked at */
  readonly looks: number;
  /** why it is not as it should be */
  readonly problem?: string;
}

export interface LoopFacts {
  /** when the turn that is under way began */
  readonly busySince?: number;
  readonly turns: number;
  readonly lastTurnAt?: number;
  readonly failuresInARow: number;
}

export interface FailureFacts {
  readonly operation: string;
  readonly object: string;
  /** errno name */
  readonly error: string;
  readonly message: string;
}

export interface ApplyFacts {
  readonly at: number;
  readonly durationMs: number;
  readonly cause: string;
  readonly done: Readonly<Record<string, number>>;
  readonly failures: readonly FailureFacts[];
}

export interface KernelFacts extends KernelTotals {
  /** true when the kernel is as desired */
  readonly settled: boolean;
  /** whether what is ours and not desired is removed; not right after our lease was made anew */
  readonly pruning: boolean;
  readonly fullReads: number;
  /** operations that mended what somebody else had changed, since the start, by kind */
  readonly repaired: OperationCounts;
  readonly driftsFound: number;
  readonly lastApply?: ApplyFacts;
  /** what the kernel refused in the last reconcile */
  readonly failures: readonly FailureFacts[];
}

/** What all reconciles since the start did. */
export interface KernelTotals {
  /** operations that the kernel took and that it refused, by kind */
  readonly operations: OperationCounts;
  readonly refused: OperationCounts;
  /** seconds that a reconcile with something to do took */
  readonly applySeconds: HistogramFacts;
  /** seconds from a snapshot of the leases to the kernel being as it wants it */
  readonly followSeconds: HistogramFacts;
}

export type OperationCounts = Readonly<Partial<Record<Operation["kind"], number>>>;

/** The masquerade and forward rules. */
export interface RulesFacts {
  readonly mode: "iptables" | "nftables";
  /** `iptables-nft`, `iptables-legacy`, `nftables`; undefined while none was needed or found */
  readonly backend?: string;
  readonly version?: string;
  /** What there should be. Worked out when it is called. */
  desired(): PerFamily<FamilyRules>;
  readonly inPlace: PerFamily<boolean>;
  /** how often the packet filter was asked whether anything changed, which costs no process */
  readonly looks: number;
  /** of the last one */
  readonly lastLookMs?: number;
  /** how often the rules themselves were read */
  readonly checks: number;
  readonly writes: number;
  /** what others had changed and was mended, since the start, by kind */
  readonly repaired: Deviations;
  /** processes started to read and write them */
  readonly forks: number;
  readonly lastCheck?: { readonly at: number; readonly durationMs: number };
  readonly lastWrite?: { readonly at: number; readonly durationMs: number };
  /** why they are not in place, or don't act as they should */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}
