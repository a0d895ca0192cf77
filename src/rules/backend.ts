import type { PerFamily } from "../net/family.ts";
import type { Deviations } from "./compare.ts";
import type { FamilyRules } from "./desired.ts";

/** How one family's rules are after they were looked at. */
export interface FamilyReport {
  /** what was found and mended; nothing when all was right */
  readonly mended: Deviations;
  /** of the transaction, and of the reading behind it that confirmed it */
  readonly writeMs?: number;
  /** what `sign` gave before the reading that found all right */
  readonly sign?: string | undefined;
  /** why the rules are not as wanted */
  readonly error?: Error;
}

/** One way to keep rules. */
export interface Backend extends Disposable {
  readonly mode: "iptables" | "nftables";
  /** what the rules are written by: `iptables-nft`, `iptables-legacy`, `nftables` */
  readonly name: string;
  readonly version: string | undefined;
  /** whether masquerading with fully random ports can be had */
  readonly randomFully: boolean;
  /**
   * Brings the rules of the families named to what is wanted: read, compare, write what differs in one transaction, read
   * again. Whatever goes wrong with a family is in its report.
   * @param sign tells of changes of the packet filter by another value than before
   */
  ensure(
    wanted: PerFamily<FamilyRules>,
    signal: AbortSignal,
    sign?: () => string | undefined,
  ): Promise<PerFamily<FamilyReport>>;
}
