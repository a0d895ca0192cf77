import { type AnnotationNames, decodeNodeLease } from "./kube-annotations.ts";
import type { KubeNode } from "./kube-proto.ts";
import type { RejectedLease } from "./lease.ts";
import type { Candidate, LeaseCandidate } from "./records.ts";

interface Entry {
  readonly node: KubeNode;
  /** its podCIDR was looked for, and it had none */
  readonly unassigned: boolean;
  /** the last lease that made sense; gone with the Node */
  readonly good: LeaseCandidate | undefined;
  readonly candidates: readonly Candidate[];
}

/** What is wrong with our own record though it makes a lease. */
export interface OwnTrouble {
  readonly reason: string;
  /** it must be published anew, as when an administrator wants another address; else what is published stays */
  readonly toPublish: boolean;
}

/** What the records must know of the Node that this source publishes for. */
export interface OwnRecord {
  is(name: string): boolean;
  trouble(node: KubeNode): OwnTrouble | undefined;
}

/**
 * What is known of the cluster's Nodes: of each its lease annotations and podCIDRs, and the lease that they make. News of
 * Nodes come from a list, a watch and single reads in any order; the resource version tells which is the newer.
 */
export class NodeRecords {
  readonly #names: AnnotationNames;
  readonly #own: OwnRecord;
  readonly #entries = new Map<string, Entry>();
  #version = 0;
  #candidates: readonly Candidate[] | undefined = [];

  constructor(names: AnnotationNames, own: OwnRecord) {
    this.#names = names;
    this.#own = own;
  }

  /** Another number after each change of `candidates`. */
  get version(): number {
    return this.#version;
  }

  get candidates(): readonly Candidate[] {
    this.#candidates ??= [...this.#entries.values()].flatMap(({ candidates }) => candidates);
    return this.#candidates;
  }

  /** Takes news of a Node. Where they lack podCIDRs, those known of the same Node stay: they never change. */
  put(news: KubeNode): void {
    const before = this.#entries.get(news.name);
    if (before !== undefined && isOlder(news.resourceVersion, before.node.resourceVersion)) return;
    const same = before?.node.uid === news.uid ? before : undefined;
    this.#set(
      same,
      { ...news, podCIDRs: news.podCIDRs.length > 0 ? news.podCIDRs : (same?.node.podCIDRs ?? []) },
      false,
    );
  }

  /** Takes the answer of a read of one Node. Only where it is known: it may be gone since. */
  refresh(news: KubeNode): void {
    const before = this.#entries.get(news.name);
    if (before?.node.uid !== news.uid) return;
    const newer = isOlder(news.resourceVersion, before.node.resourceVersion) ? before.node : news;
    const podCIDRs = news.podCIDRs.length > 0 ? news.podCIDRs : before.node.podCIDRs;
    this.#set(before, { ...newer, podCIDRs }, podCIDRs.length === 0);
  }

  /** @param uid that of the one which is gone: another one with its name may be there already */
  delete(name: string, uid: string): void {
    const entry = this.#entries.get(name);
    if (entry?.node.uid !== uid) return;
    this.#entries.delete(name);
    if (entry.candidates.length > 0) this.#changed();
  }

  /** Forgets every Node that is not among these. */
  retain(names: ReadonlySet<string>): void {
    for (const [name, { node }] of this.#entries) if (!names.has(name)) this.delete(name, node.uid);
  }

  /** Whether a Node has published a lease but its podCIDR is not known. */
  lacksPodCIDR(name: string): boolean {
    const node = this.#entries.get(name)?.node;
    return node?.podCIDRs.length === 0 && this.#isManaged(node);
  }

  #isManaged({ annotations }: KubeNode): boolean {
    return annotations[this.#names.managed] === "true";
  }

  #set(before: Entry | undefined, node: KubeNode, unassigned: boolean): void {
    if (before !== undefined && before.unassigned === unassigned && saysTheSame(before.node, node)) {
      // A heartbeat.
      this.#entries.set(node.name, { ...before, node: { ...before.node, resourceVersion: node.resourceVersion } });
      return;
    }
    const { good, candidates } = this.#judge(node, unassigned, before?.good);
    const had = (before ?? this.#entries.get(node.name))?.candidates ?? [];
    const same = Bun.deepEquals(had, candidates);
    this.#entries.set(node.name, { node, unassigned, good, candidates: same ? had : candidates });
    if (!same) this.#changed();
  }

  #judge(node: KubeNode, unassigned: boolean, good: LeaseCandidate | undefined): Pick<Entry, "good" | "candidates"> {
    const { name } = node;
    const reject = (reason: string, more: Partial<RejectedLease> = {}) => ({
      rejected: { key: name, node: name, ...more, reason },
    });
    const isOwn = this.#own.is(name);
    if (!this.#isManaged(node)) {
      if (good === undefined || isOwn) return { good: undefined, candidates: [] };
      return { good, candidates: [good, reject(`annotation ${this.#names.managed} is not "true" any more`)] };
    }
    if (node.podCIDRs.length === 0)
      return { good, candidates: unassigned ? [reject("the Node has no podCIDR yet")] : [] };
    const decoded = decodeNodeLease(this.#names, node);
    if (decoded.ok) {
      const trouble = isOwn ? this.#own.trouble(node) : undefined;
      if (trouble?.toPublish) return { good: undefined, candidates: [reject(trouble.reason)] };
      const lease = good !== undefined && Bun.deepEquals(good.lease, decoded.value) ? good.lease : decoded.value;
      const candidate = good?.lease === lease ? good : { lease, rank: node.createdAt };
      return { good: candidate, candidates: trouble ? [candidate, reject(trouble.reason)] : [candidate] };
    }
    const rejected = reject(decoded.reason, decoded.publicIPs && { publicIPs: decoded.publicIPs });
    // The others go on with what they know; what is wrong with our own is ours to mend.
    return { good, candidates: good === undefined || isOwn ? [rejected] : [good, rejected] };
  }

  #changed(): void {
    this.#version++;
    this.#candidates = undefined;
  }
}

function saysTheSame(a: KubeNode, b: KubeNode): boolean {
  return (
    a.uid === b.uid &&
    a.podCIDRs.length === b.podCIDRs.length &&
    a.podCIDRs.every((cidr, i) => cidr === b.podCIDRs[i]) &&
    Bun.deepEquals(a.annotations, b.annotations)
  );
}

/** Resource versions are numbers for etcd; what is none can't be compared. */
export function isOlder(a: string, b: string): boolean {
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return false;
  return a.length === b.length ? a < b : a.length < b.length;
}
