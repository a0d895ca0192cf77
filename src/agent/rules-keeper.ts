import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { Lease } from "../lease/lease.ts";
import { type Family, familiesOf, mapFamilies, type PerFamily } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import { type Deviations, deviates, sumDeviations } from "../rules/compare.ts";
import type { RulesInput } from "../rules/desired.ts";
import type { Host } from "../rules/host.ts";
import { type FilterReport, PacketFilter, rulesBy } from "../rules/packet-filter.ts";
import type { EventLog } from "../status/event-log.ts";
import type { RulesFacts } from "../status/facts.ts";
import { Loop, type TurnResult } from "./loop.ts";

const log = logger("rules");

const NOT_YET = "the rules are not made yet";
/** Checks for changes by others begin at most once in this time, however often they write. */
const CHECK_MS = 1_000;

export interface RulesFlags {
  readonly ipMasq: boolean;
  readonly ipMasqRandomFully: boolean;
  readonly forwardRules: boolean;
  readonly rulesResyncSeconds: number;
}

export interface RulesKeeperOptions {
  readonly flags: RulesFlags;
  readonly events: EventLog;
  /** the rules came into place, or they are not any more */
  onChange(cause: string): void;
  /** whose packet filters; this process's unless given */
  readonly host?: Host;
}

/** Keeps the masquerade and forward rules as they should be, in a loop of its own: what it forks holds nothing else up. */
export class RulesKeeper {
  readonly #options: RulesKeeperOptions;
  readonly #loop = new Loop((causes) => this.#turn(causes));
  readonly #stopping = new AbortController();
  #timer: Timer | undefined;
  #due: Timer | undefined;
  #filter: PacketFilter | undefined;
  #mode: RulesFacts["mode"] = "iptables";
  #input: RulesInput | undefined;
  /** what the rules were last kept for */
  #keptFor: RulesInput | undefined;
  /** the state of the packet filter that was found to be right, and when that check began, by the monotonic clock */
  #rightSign: string | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  /** when it was first seen that somebody changed something, by the monotonic clock */
  #noticedAt: number | undefined;
  #hasLeftovers = false;
  #inPlace: PerFamily<boolean> = {};
  #errors: readonly string[] = [NOT_YET];
  #missing: readonly string[] = [];
  /** old rules that can't be removed */
  #leftovers: readonly string[] = [];
  #warnings: readonly string[] = [];
  #looks = 0;
  #lastLookMs: number | undefined;
  #checks = 0;
  #writes = 0;
  #repaired: Deviations = {};
  #lastCheck: RulesFacts["lastCheck"];
  #lastWrite: RulesFacts["lastWrite"];
  #toldProblems = NOT_YET;

  constructor(options: RulesKeeperOptions) {
    this.#options = options;
  }

  /** Has the rules follow from these. Returns at once. */
  want(network: NetworkConfig, { subnets }: Pick<Lease, "subnets">): void {
    const { ipMasq, ipMasqRandomFully, forwardRules, rulesResyncSeconds } = this.#options.flags;
    const input: RulesInput = {
      networks: mapFamilies(network.ranges, (range) => range.network),
      subnets,
      masquerade: ipMasq,
      randomFully: ipMasqRandomFully,
      forward: forwardRules,
    };
    if (Bun.deepEquals(input, this.#input)) return;
    this.#input = input;
    if (this.#filter === undefined) {
      this.#mode = network.nftables ? "nftables" : "iptables";
      this.#filter = new PacketFilter(this.#mode, this.#options.host);
      this.#timer = setInterval(() => this.#resync(), rulesResyncSeconds * 1000);
    }
    this.#loop.mark("wanted rules changed");
  }

  /** Why the rules are not in place, or not known to be. */
  problems(): string[] {
    return [...this.#errors, ...this.#missing];
  }

  facts(): RulesFacts {
    const backend = this.#filter?.backend;
    return {
      mode: this.#mode,
      ...(backend === undefined ? {} : { backend: backend.name }),
      ...(backend?.version === undefined ? {} : { version: backend.version }),
      desired: () => (this.#input === undefined ? {} : rulesBy(backend, this.#input)),
      inPlace: this.#inPlace,
      looks: this.#looks,
      ...(this.#lastLookMs === undefined ? {} : { lastLookMs: this.#lastLookMs }),
      checks: this.#checks,
      writes: this.#writes,
      repaired: this.#repaired,
      forks: this.#filter?.forks ?? 0,
      ...(this.#lastCheck === undefined ? {} : { lastCheck: this.#lastCheck }),
      ...(this.#lastWrite === undefined ? {} : { lastWrite: this.#lastWrite }),
      errors: this.problems(),
      warnings: this.#warnings,
    };
  }

  /** The rules are read, whatever the packet filter says of changes. */
  resync(cause: string): void {
    this.#rightSign = undefined;
    this.#loop.mark(cause);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#due);
    await this.#loop.stop();
    this.#filter?.[Symbol.dispose]();
    this.#filter = undefined;
  }

  #resync(): void {
    this.#lookAround();
    this.#lookForWarnings();
    if (this.#hasLeftovers) this.#rightSign = undefined;
    this.#lookForChange("resync");
  }

  #lookForChange(cause: string): void {
    const wantsRules = this.#input?.masquerade || this.#input?.forward;
    if (!wantsRules && this.#keptFor === this.#input && !this.#hasLeftovers) return;
    // What failed is tried again by itself.
    if (this.#due !== undefined || this.#loop.facts().failuresInARow > 0 || this.#isRight()) return;
    this.#noticedAt ??= performance.now();
    this.#due = setTimeout(
      () => {
        this.#due = undefined;
        // It may have been our own writing.
        if (!this.#isRight()) this.#loop.mark(cause);
        else this.#noticedAt = undefined;
      },
      Math.max(0, this.#checkedAt + CHECK_MS - performance.now()),
    );
  }

  /** Whether nothing changed since the rules were found to be right. From then on the next change is told. */
  #isRight(): boolean {
    this.#looks++;
    const started = performance.now();
    try {
      this.#watchForChange();
      return this.#rightSign !== undefined && this.#filter?.stateSign() === this.#rightSign;
    } catch (error) {
      log.debug("{error}", { error: describeError(error) });
      return false;
    } finally {
      this.#lastLookMs = performance.now() - started;
    }
  }

  #watchForChange(): void {
    this.#filter?.watch(() => this.#lookForChange("the packet filter's rules changed"));
  }

  /** What the host lacks is looked for apart from the rules: neither changes with the other. */
  #lookAround(): void {
    const wanted = this.#input?.masquerade || this.#input?.forward;
    this.#missing = wanted ? (this.#filter?.missing(familiesOf(this.#input?.networks ?? {})) ?? []) : [];
    this.#tellProblems();
  }

  /** Chains of others that drop may come in a packet filter that has no rules of ours. */
  #lookForWarnings(): void {
    try {
      const warnings = this.#filter?.warnings() ?? [];
      if (this.#keptFor === this.#input) this.#warn([...this.#leftovers, ...warnings]);
    } catch (error) {
      log.debug("{error}", { error: describeError(error) });
    }
  }

  async #turn(causes: readonly string[]): Promise<TurnResult> {
    const input = this.#input;
    const filter = this.#filter;
    if (input === undefined || filter === undefined) return { complete: true, undone: false };
    this.#checkedAt = performance.now();
    let report: FilterReport | undefined;
    let failure: string[] = [];
    try {
      report = await filter.keep(input, this.#stopping.signal);
    } catch (error) {
      failure = [describeError(error)];
    }
    if (this.#stopping.signal.aborted) return { complete: true, undone: false };
    this.#checks++;
    this.#lastCheck = { at: Date.now(), durationMs: performance.now() - this.#checkedAt };
    if (report !== undefined) this.#record(report, input, causes);
    this.#noticedAt = undefined;
    const families = familiesOf(input.networks);
    this.#inPlace = Object.fromEntries(
      families.map((family) => [family, report !== undefined && report.families[family]?.error === undefined]),
    );
    this.#fail(report === undefined ? failure : errorsOf(report), causes);
    const leftovers = report?.leftovers.map(describeError) ?? [];
    if (report !== undefined) {
      this.#leftovers = leftovers;
      this.#warn([...leftovers, ...report.warnings]);
    }
    this.#lookAround();
    const complete = this.#errors.length === 0;
    this.#rightSign = complete ? report?.sign : undefined;
    // Old rules that can't be removed are tried again with the next resync.
    this.#hasLeftovers = leftovers.length > 0;
    if (complete) this.#keptFor = input;
    // Changes since the rules were read, and from now on.
    this.#lookForChange("the packet filter's rules changed");
    return { complete, undone: false };
  }

  #record(report: FilterReport, input: RulesInput, causes: readonly string[]): void {
    for (const what of report.removed) log.info("removed {what}", { what });
    const families = familiesOf(report.families);
    const mended = sumDeviations(families.map((family) => report.families[family]?.mended ?? {}));
    if (!deviates(mended)) return;
    this.#writes++;
    const durationMs = Math.max(...families.map((family) => report.families[family]?.writeMs ?? 0));
    this.#lastWrite = { at: Date.now(), durationMs };
    // Once they were as wanted, somebody undid what is missing now.
    const drift = this.#keptFor === input;
    if (drift) this.#repaired = sumDeviations([this.#repaired, mended]);
    const where = families.map((family) => describeNetwork(family, input)).join(", ");
    const what = Object.entries(mended)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(", ");
    const message = `${drift ? "mended" : "made"} the rules of ${where} by ${this.#filter?.backend?.name}: ${what}`;
    const cause = causes.join(", ");
    log.info("{message} in {ms} ms ({cause})", { message, ms: durationMs.toFixed(1), cause });
    const event = { kind: drift ? "rulesRepaired" : "rulesWritten", message, cause } as const;
    // A repair took from the moment that the change was seen.
    const since = this.#noticedAt ?? this.#checkedAt;
    this.#options.events.add({ ...event, durationMs: drift ? performance.now() - since : durationMs });
  }

  /** What went wrong this time; each is told when it appears. */
  #fail(errors: readonly string[], causes: readonly string[]): void {
    const cause = causes.join(", ");
    for (const message of errors) {
      if (this.#errors.includes(message)) continue;
      this.#options.events.add({ kind: "rulesFailed", level: "error", message, cause });
    }
    this.#errors = errors;
  }

  #warn(warnings: readonly string[]): void {
    for (const warning of warnings) {
      if (!this.#warnings.includes(warning)) log.warn("{warning}", { warning });
    }
    this.#warnings = warnings;
  }

  #tellProblems(): void {
    const problems = this.problems().join("; ");
    if (problems === this.#toldProblems) return;
    this.#toldProblems = problems;
    this.#options.onChange(problems === "" ? "the rules are in place" : "the rules are not in place");
  }
}

function errorsOf({ families }: FilterReport): string[] {
  return familiesOf(families).flatMap((family) => {
    const error = families[family]?.error;
    return error === undefined ? [] : [`IPv${family}: ${describeError(error)}`];
  });
}

function describeNetwork(family: Family, { networks }: RulesInput): string {
  const network = networks[family];
  return network === undefined ? `IPv${family}` : formatPrefix(network);
}
