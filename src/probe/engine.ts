import type { Verdict } from "../api/peers.ts";
import type { Address } from "../net/address.ts";
import { FAMILIES, type Family, familiesOf, mapFamilies, type PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import { messageBytes, SMALL_BYTES } from "./echo.ts";
import { type Path, Records, type RowFacts } from "./records.ts";
import { Rota } from "./rota.ts";
import { type Carrier, PACE, type Pace, runRound, type Train, wasRefused } from "./round.ts";
import { type PathTotals, ProbeTotals } from "./totals.ts";
import { explain, verdictOf } from "./verdict.ts";

/** Probes of a path whose last train had an answer, or that had none yet; and of one that was silent. */
const TRAIN = 5;
const SHORT_TRAIN = 2;

/** Another node, as its lease has it. */
export interface ProbePeer {
  readonly key: string;
  readonly node?: string;
  /** the first address of each is the VTEP's */
  readonly subnets: PerFamily<Prefix>;
  readonly publicIPs: PerFamily<Address>;
  /** undefined: nobody knows */
  readonly vteps?: PerFamily<{ readonly mac: string }>;
}

/** This node's end of the overlay in one family. */
export interface OwnEnd {
  readonly device: string;
  /** UDP, of VXLAN */
  readonly port: number;
  /** bytes, of the device */
  readonly mtu: number;
  /** bytes that the encapsulation adds to an IP packet */
  readonly overhead: number;
  readonly vtep: Address;
  /** source of the encapsulated packets */
  readonly local: Address;
}

export interface ProbeInput {
  readonly peers: readonly ProbePeer[];
  readonly own: PerFamily<OwnEnd>;
  /** whether the kernel has been told of the peer */
  isProgrammed(peer: ProbePeer, family: Family): boolean;
}

/** What is known of a peer in one family. */
export interface PeerFacts extends RowFacts {
  /** of a full-size IP packet through the overlay */
  readonly fullBytes: number;
}

/** A peer's verdict became another one in these families. */
export interface Change {
  readonly peer: ProbePeer;
  readonly families: readonly Family[];
  readonly from: Verdict;
  readonly to: Verdict;
  /** milliseconds that `from` had held; undefined where it is what was not known yet */
  readonly heldMs?: number | undefined;
  readonly why?: string;
  readonly fix?: string;
}

/** A peer that is not reachable as it should be. */
export interface Trouble {
  readonly key: string;
  readonly node?: string;
  readonly families: readonly Family[];
  readonly verdict: Verdict;
  readonly why: string;
  readonly fix: string;
}

interface ProbeCarrier extends Carrier {
  carries(family: Family, way: "overlay" | "underlay"): boolean;
}

/** Who is probed when, and what the probes said. It keeps no time: whoever has it asks for one round after the other. */
export class ProbeEngine {
  readonly #carrier: ProbeCarrier;
  readonly #pace: Pace;
  readonly #rota = new Rota();
  readonly #totals = new ProbeTotals();
  readonly #records: PerFamily<Records> = {};
  /** by row */
  #peers: (ProbePeer | undefined)[] = [];
  readonly #rows = new Map<string, number>();
  /** rows of peers that are not reachable as they should be */
  readonly #troubled = new Set<number>();
  #free: number[] = [];
  #input: ProbeInput | undefined;
  #refused = false;
  /** what all peers have in common, where that is trouble */
  #everywhere: PerFamily<Verdict> = {};

  constructor(carrier: ProbeCarrier, pace: Pace = PACE) {
    this.#carrier = carrier;
    this.#pace = pace;
  }

  /** Takes over who the peers are now. Not during a round. */
  setPeers(input: ProbeInput): void {
    if (input === this.#input) return;
    this.#input = input;
    // Thousands of peers, of which a few changed: nothing is made for each.
    const stays = new Uint8Array(this.#peers.length);
    const fresh: ProbePeer[] = [];
    for (const peer of input.peers) {
      if (!FAMILIES.some((family) => this.#isProbedIn(peer, family))) continue;
      const row = this.#rowOf(peer);
      if (row === undefined) fresh.push(peer);
      else stays[row] = 1;
    }
    let left = 0;
    for (const [row, peer] of this.#peers.entries()) {
      if (peer === undefined || stays[row] === 1) continue;
      this.#remove(peer.key);
      left++;
    }
    if (left > 0) this.#rota.retain((row) => this.#peers[row] !== undefined);
    for (const family of familiesOf(input.own)) {
      this.#records[family] ??= new Records();
      this.#records[family].reserve(Math.max(this.#rows.size + fresh.length, this.#peers.length));
    }
    for (const peer of fresh) if (!this.#rows.has(peer.key)) this.#add(peer);
  }

  /** One round: at most 64 peers. @returns what changed; nothing if the signal ended it */
  async round(signal: AbortSignal): Promise<Change[]> {
    const turns = this.#rota.next(this.#troubled);
    const trains = turns.flatMap((row) => this.#trainsOf(row));
    await runRound(
      trains,
      this.#carrier,
      ({ row, family, path, fromSilence, answered }, rtt) => {
        this.#totals.add(family, path, rtt);
        // What was sent before the first answer is no loss, also where that is known only after the answer.
        if (fromSilence && answered > 0 && rtt === undefined) return;
        if (path !== "fullSize") this.#records[family]?.record(row, path, rtt, Date.now());
      },
      signal,
      this.#pace,
    );
    if (signal.aborted) return [];
    return this.#settle(trains);
  }

  /** What is known of a peer in a family; undefined while it is not probed. */
  facts(key: string, family: Family): PeerFacts | undefined {
    const row = this.#rows.get(key);
    const peer = row === undefined ? undefined : this.#peers[row];
    if (row === undefined || peer === undefined || !this.#familiesFor(peer).includes(family)) return undefined;
    const facts = this.#records[family]?.facts(row);
    return facts && { ...facts, fullBytes: this.#input?.own[family]?.mtu ?? 0 };
  }

  /** What the probes of a peer in a family say together; undefined while it is not probed. */
  verdict(key: string, family: Family): Verdict | undefined {
    const row = this.#rows.get(key);
    return row === undefined ? undefined : this.#records[family]?.verdict(row);
  }

  /** The trouble that all peers of a family are in, as of the last round; undefined where they differ, or there is but one. */
  everywhere(family: Family): Verdict | undefined {
    return this.#everywhere[family];
  }

  /** Whether there are peers that are not reachable as they should be. */
  get isTroubled(): boolean {
    return this.#troubled.size > 0;
  }

  /** The peers that are not reachable as they should be: how many, and the first of them in the order of their keys. */
  troubled(most: number): { total: number; first: Trouble[] } {
    const rows = [...this.#troubled];
    const peers = rows.flatMap((row) => this.#peers[row] ?? []).sort((a, b) => (a.key < b.key ? -1 : 1));
    const first = peers.slice(0, most).flatMap((peer) => this.#troublesOf(peer));
    return { total: rows.length, first };
  }

  /** All probes since the start. */
  totals(): PathTotals[] {
    return this.#totals.facts();
  }

  /** Whether in the last round this node refused all probes of a path to some peer: nothing is known of that one then. */
  get wasRefused(): boolean {
    return this.#refused;
  }

  /** How many peers are probed. */
  get size(): number {
    return this.#rows.size;
  }

  #troublesOf(peer: ProbePeer): Trouble[] {
    const { key, node } = peer;
    const row = this.#rows.get(key) ?? 0;
    const byVerdict = Map.groupBy(this.#familiesFor(peer), (family) => this.#verdict(row, family));
    return [...byVerdict].flatMap(([verdict, families]) => {
      const words = this.#explain(peer, row, families, verdict);
      return words === undefined ? [] : [{ key, ...(node === undefined ? {} : { node }), families, verdict, ...words }];
    });
  }

  /** The row of the same node, of which this is now the lease. */
  #rowOf(peer: ProbePeer): number | undefined {
    const row = this.#rows.get(peer.key);
    const known = row === undefined ? undefined : this.#peers[row];
    if (row === undefined || known === undefined) return undefined;
    if (known === peer) return row;
    if (!isSameNode(known, peer)) return undefined;
    for (const family of FAMILIES) {
      // It has another device, of which the losses of the one before say nothing.
      if (known.vteps?.[family]?.mac !== peer.vteps?.[family]?.mac) this.#records[family]?.beginWindow(row);
    }
    this.#peers[row] = peer;
    return row;
  }

  #add(peer: ProbePeer): void {
    const row = this.#free.pop() ?? this.#peers.length;
    this.#peers[row] = peer;
    this.#rows.set(peer.key, row);
    for (const family of familiesOf(this.#records)) this.#records[family]?.clear(row);
    this.#rota.add(row);
  }

  #remove(key: string): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    this.#rows.delete(key);
    this.#troubled.delete(row);
    this.#peers[row] = undefined;
    this.#free.push(row);
  }

  #isProbedIn(peer: ProbePeer, family: Family): boolean {
    return this.#input?.own[family] !== undefined && this.#input.isProgrammed(peer, family);
  }

  #familiesFor(peer: ProbePeer): Family[] {
    return FAMILIES.filter((family) => this.#isProbedIn(peer, family));
  }

  #verdict(row: number, family: Family): Verdict {
    return this.#records[family]?.verdict(row) ?? "unknown";
  }

  #trainsOf(row: number): Train[] {
    const peer = this.#peers[row];
    if (peer === undefined) return [];
    return this.#familiesFor(peer).flatMap((family) => {
      const own = this.#input?.own[family];
      const vtep = peer.subnets[family]?.address;
      const publicIP = peer.publicIPs[family];
      const records = this.#records[family];
      if (own === undefined || vtep === undefined || publicIP === undefined || records === undefined) return [];
      const train = (path: Path, target: Address, bytes: number): Train => {
        const state = records.state(row, path);
        const most = state === "silent" ? SHORT_TRAIN : TRAIN;
        const fromSilence = state !== "answers";
        return { row, family, path, target, bytes, most, fromSilence, sent: 0, answered: 0, refused: 0 };
      };
      const inside = () => train("overlay", vtep, SMALL_BYTES);
      const below = this.#carrier.carries(family, "underlay") ? [train("underlay", publicIP, SMALL_BYTES)] : [];
      if (!this.#carrier.carries(family, "overlay")) return below;
      const small = inside();
      // With each turn, for it costs little, and a small packet says nothing of a large one; but only where that one passes.
      const full: Train = { ...train("fullSize", vtep, messageBytes(family, own.mtu)), behind: small };
      // The peer may have gone down just after the small one,
      const smallAgain: Train = { ...inside(), afterSilence: full };
      const belowAgain = below.map((each): Train => ({ ...each, afterSilence: full }));
      // or may have been away for just as long as the large ones took.
      const isNews = records.state(row, "fullSize") !== "silent";
      const fullAgain: Train[] = isNews ? [{ ...full, most: SHORT_TRAIN, behind: smallAgain }] : [];
      return [small, ...below, full, smallAgain, ...belowAgain, ...fullAgain];
    });
  }

  /** Makes verdicts of the round's trains. */
  #settle(trains: readonly Train[]): Change[] {
    const now = Date.now();
    this.#refused = trains.some(wasRefused);
    for (const train of trains) {
      const { row, family, path, afterSilence, sent, answered } = train;
      const records = this.#records[family];
      if (records === undefined) continue;
      if (wasRefused(train)) {
        records.setState(row, path, "unknown");
        continue;
      }
      // That full size is silent says something only if small packets come through afterwards.
      if (sent > 0 && (path !== "fullSize" || answered > 0))
        records.setState(row, path, answered > 0 ? "answers" : "silent");
      if (path === "overlay" && afterSilence !== undefined && answered > 0) records.setState(row, "fullSize", "silent");
      records.markProbed(row, now, path === "fullSize" && sent > 0);
    }
    const changed = [...new Set(trains.map(({ row }) => row))].flatMap((row) => this.#judge(row, now));
    this.#everywhere = mapFamilies(this.#records, (_, family) => this.#inCommon(family));
    return changed.map(({ row, ...change }) => ({
      ...change,
      ...this.#explain(change.peer, row, change.families, change.to),
    }));
  }

  #inCommon(family: Family): Verdict | undefined {
    if (this.#troubled.size < this.#rows.size) return undefined;
    let common: Verdict | undefined;
    let peers = 0;
    for (const [row, peer] of this.#peers.entries()) {
      if (peer === undefined || !this.#isProbedIn(peer, family)) continue;
      const verdict = this.#verdict(row, family);
      if (!isTrouble(verdict) || (common !== undefined && verdict !== common)) return undefined;
      common = verdict;
      peers++;
    }
    return peers > 1 ? common : undefined;
  }

  #judge(row: number, now: number): (Change & { readonly row: number })[] {
    const peer = this.#peers[row];
    if (peer === undefined) return [];
    const changed = mapFamilies(this.#records, (records, family) => {
      if (!this.#familiesFor(peer).includes(family)) return undefined;
      const from = records.verdict(row);
      const to = verdictOf(records.evidence(row), from);
      const heldMs = records.setVerdict(row, to, now);
      return from === to ? undefined : { from, to, heldMs };
    });
    const isTroubled = familiesOf(this.#records).some((family) => isTrouble(this.#verdict(row, family)));
    if (isTroubled) this.#troubled.add(row);
    else this.#troubled.delete(row);
    const alike = Map.groupBy(familiesOf(changed), (family) => `${changed[family]?.from} ${changed[family]?.to}`);
    return [...alike.values()].flatMap((families) => {
      const change = changed[families[0] ?? 4];
      return change ? [{ row, peer, families, ...change }] : [];
    });
  }

  #explain(peer: ProbePeer, row: number, families: readonly Family[], verdict: Verdict) {
    const family = families[0] ?? 4;
    const own = this.#input?.own[family];
    if (own === undefined) return undefined;
    const { sent, received } = this.#records[family]?.evidence(row) ?? { sent: 0, received: 0 };
    return explain(verdict, {
      families: families.map((each) => `IPv${each}`).join(" and "),
      publicIP: peer.publicIPs[family] ?? "its public address",
      local: own.local,
      devices: families.flatMap((each) => this.#input?.own[each]?.device ?? []),
      port: own.port,
      fullBytes: families.flatMap((each) => this.#input?.own[each]?.mtu ?? []),
      outerBytes: own.mtu + own.overhead,
      lossPercent: sent === 0 ? 0 : (1 - received / sent) * 100,
      everywhere: this.#everywhere[family] === verdict,
    });
  }
}

function isTrouble(verdict: Verdict): boolean {
  return verdict !== "reachable" && verdict !== "unknown";
}

/** Whether what was found of a lease's node also holds for what the lease says now. */
function isSameNode(before: ProbePeer, now: ProbePeer): boolean {
  return (
    before.node === now.node &&
    FAMILIES.every(
      (family) =>
        before.publicIPs[family] === now.publicIPs[family] &&
        before.subnets[family]?.address === now.subnets[family]?.address,
    )
  );
}
