import { describeError } from "../base/errors.ts";
import { logger, logLevel, setLogLevel } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import type { AgentFlags } from "../config/flags.ts";
import { formatListenAddress } from "../config/listen-address.ts";
import type { NetworkConfig } from "../config/network.ts";
import { type Plan, type PlanInput, plan } from "../desired/plan.ts";
import { mtuProblem, mtuWarning } from "../desired/vxlan.ts";
import { KernelReconciler } from "../kernel/reconciler.ts";
import type { LeaseSource } from "../lease/source.ts";
import { familiesOf, mapFamilies } from "../net/family.ts";
import type { AgentControl } from "../status/control.ts";
import type { EventLog } from "../status/event-log.ts";
import type { Facts, Finding } from "../status/facts.ts";
import { ExternalInterfaceKeeper } from "./external-interface.ts";
import { LeaseFollower } from "./lease-follower.ts";
import { Loop, type TurnResult } from "./loop.ts";
import { PlanSettingsKeeper } from "./plan-settings.ts";
import { PruneHold } from "./prune-hold.ts";
import { ReadinessReport } from "./readiness-report.ts";
import { ReconcileTotals } from "./reconcile-totals.ts";
import { ReconcileRecord } from "./record.ts";
import { RulesKeeper } from "./rules-keeper.ts";
import { SettingsReader } from "./settings-reader.ts";
import { recordContact } from "./source-events.ts";
import { SubnetFileKeeper } from "./subnet-file-keeper.ts";

const log = logger("agent");

const inputKeys = ["settings", "network", "external", "own", "leases"] as const;

export interface NodeOptions {
  readonly flags: AgentFlags;
  readonly source: LeaseSource;
  readonly name?: string;
  readonly events: EventLog;
  /** the lease is lost for good */
  onFatal(error: Error): void;
  /** the kernel was told of these peers, again after each change */
  onProgrammed(plan: Plan): void;
  /** each time that the node becomes ready */
  onReady(): void;
}

/**
 * This node's part of the pod network: holds the inputs (network configuration, external interface, own lease, snapshot)
 * and runs the cycle inputs → plan → kernel → subnet.env whenever one of them, or the kernel, changed.
 */
export class Node implements AgentControl {
  readonly #options: NodeOptions;
  readonly #startedAt = Date.now();
  readonly #stopping = new AbortController();
  readonly #loop = new Loop((causes) => this.#turn(causes));
  readonly #settings: SettingsReader;
  readonly #external: ExternalInterfaceKeeper;
  readonly #leases: LeaseFollower;
  readonly #pruneHold = new PruneHold(this.#startedAt, () => this.#loop.mark("leases settled"));
  readonly #subnetFile: SubnetFileKeeper;
  readonly #rules: RulesKeeper;
  readonly #totals = new ReconcileTotals();
  readonly #record: ReconcileRecord;
  readonly #planSettings: PlanSettingsKeeper;
  readonly #readiness: ReadinessReport;
  readonly #shownFlags: Facts["flags"];
  #resyncTimer: Timer | undefined;
  #toldMtu: string | undefined;
  #kernel: KernelReconciler | undefined;
  #planned: Plan | undefined;

  constructor(options: NodeOptions) {
    const { flags, source, name, events, onFatal } = options;
    const { signal } = this.#stopping;
    const mark = (cause: string) => this.#loop.mark(cause);
    this.#options = options;
    this.#settings = new SettingsReader(source, signal, () => mark("configuration read"));
    this.#external = new ExternalInterfaceKeeper(flags, events);
    const named = name === undefined ? {} : { name };
    this.#leases = new LeaseFollower({ flags, source, events, ...named, stopping: signal, onChange: mark, onFatal });
    this.#record = new ReconcileRecord(events);
    this.#planSettings = new PlanSettingsKeeper(flags);
    recordContact(source, events);
    this.#subnetFile = new SubnetFileKeeper(flags.subnetFile, mark);
    this.#rules = new RulesKeeper({ flags, events, onChange: mark });
    this.#readiness = new ReadinessReport(events, () => {
      options.onReady();
      void this.#announceReady();
    });
    // An agent that runs was asked for neither.
    const { help: _help, version: _version, ...shown } = flags;
    this.#shownFlags = {
      ...shown,
      debugAddresses: flags.debugAddresses.map(formatListenAddress),
      healthz: flags.healthz ? formatListenAddress(flags.healthz) : null,
    };
  }

  start(): void {
    const { resyncSeconds } = this.#options.flags;
    if (resyncSeconds > 0) this.#resyncTimer = setInterval(() => this.#readAnew("resync"), resyncSeconds * 1000);
    this.#loop.mark("start");
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#resyncTimer);
    this.#pruneHold.stop();
    this.#subnetFile.stop();
    const followed = this.#leases.stop();
    await Promise.all([this.#loop.stop(), this.#rules.stop()]);
    await followed;
    this.#kernel?.[Symbol.dispose]();
    this.#kernel = undefined;
  }

  resync(): void {
    this.#options.events.add({
      kind: "resyncAsked",
      message: "all is read anew and compared",
      cause: "POST /debug/resync",
    });
    this.#rules.resync("resync asked for");
    this.#readAnew("resync asked for");
  }

  setLogLevel(level: Facts["logLevel"]): void {
    const before = logLevel();
    if (level === before) return;
    setLogLevel(level);
    const message = `the log level is ${level} now, it was ${before}`;
    log.info("{message}", { message });
    this.#options.events.add({ kind: "logLevelChanged", message, cause: "PUT /debug/log-level" });
  }

  #readAnew(cause: string): void {
    this.#kernel?.forget();
    this.#loop.mark(cause);
  }

  facts(): Facts {
    const { source, name, events } = this.#options;
    const { own, snapshot, rejections } = this.#leases;
    const external = this.#external.current;
    const leaseProblem = this.#leases.problem();
    const network = this.#settings.current?.network;
    const actual = this.#kernel?.known;
    return {
      version: VERSION,
      ...(name === undefined ? {} : { node: name }),
      now: Date.now(),
      startedAt: this.#startedAt,
      flags: this.#shownFlags,
      ...(network === undefined ? {} : { network }),
      networkWarnings: [...(this.#settings.current?.warnings ?? []), ...this.#mtuWarnings()],
      ...(external === undefined ? {} : { external }),
      source: { kind: source.kind, location: source.location, contact: source.contact },
      ...(own === undefined ? {} : { own }),
      ...(leaseProblem === undefined ? {} : { leaseProblem }),
      ...(snapshot === undefined ? {} : { snapshot }),
      rejections,
      ...(this.#planned === undefined ? {} : { desired: this.#planned.desired }),
      ...(actual === undefined ? {} : { actual }),
      asDesired: this.#kernel?.asDesired ?? false,
      diff: () => this.#kernel?.pending() ?? [],
      problems: [...this.#readiness.problems, ...this.#presentProblems()],
      loop: this.#loop.facts(),
      kernel: { ...this.#record.facts(), ...this.#totals.facts(), fullReads: this.#kernel?.fullReads ?? 0 },
      rules: this.#rules.facts(),
      logLevel: logLevel(),
      events,
    };
  }

  #mtuWarnings(): string[] {
    const external = this.#external.current;
    const backend = this.#settings.current?.network.backend;
    const warning = external && backend && mtuWarning(backend, external);
    return warning === undefined ? [] : [warning];
  }

  /** What can stop being true at any moment is looked at when it is asked for. */
  #presentProblems(): Finding[] {
    if (this.#stopping.signal.aborted) return [{ condition: "shutdown", message: "the agent is stopping" }];
    const why = this.#leases.missing();
    if (why !== undefined) return [{ condition: "lease", message: `this node has no lease yet: ${why}` }];
    if (this.#planned === undefined || this.#kernel === undefined) {
      return this.#readiness.problems.length > 0 ? [] : [{ condition: "device", message: "nothing is programmed yet" }];
    }
    const findings: Finding[] = this.#kernel.deviceProblems().map((message) => ({ condition: "device", message }));
    const problem = this.#subnetFile.problem();
    if (problem !== undefined) findings.push({ condition: "subnetFile", message: problem });
    for (const message of this.#rules.problems()) findings.push({ condition: "rules", message });
    return findings;
  }

  async #turn(causes: readonly string[]): Promise<TurnResult> {
    const problems: Finding[] = [];
    const { driftsFound } = this.#record.facts();
    try {
      await this.#cycle(causes, problems);
    } catch (error) {
      // What nobody foresaw is in the way all the same: libnl is missing, a socket is refused.
      problems.push({ condition: "kernel", message: describeError(error) });
    }
    this.#readiness.turned(problems, () => this.facts());
    const record = this.#record.facts();
    return {
      complete: problems.length === 0 && (this.#planned === undefined || record.settled),
      undone: record.driftsFound > driftsFound,
    };
  }

  /** Goes as far as the inputs allow; what is in the way of more ends up in `problems`. */
  async #cycle(causes: readonly string[], problems: Finding[]): Promise<void> {
    const settings = await this.#settings.read(problems);
    if (settings === undefined) return;
    const { network } = settings;
    const kernel = this.#openKernel(network);
    const actual = await kernel.actual();
    const external = this.#external.choose(settings, kernel, actual, problems);
    if (external === undefined) return;
    for (const warning of this.#mtuWarnings()) {
      if (warning !== this.#toldMtu) log.warn("{warning}", { warning });
      this.#toldMtu = warning;
    }
    const own = this.#leases.keep(network, external, actual.links);
    // That goes on by itself and tells us; `facts` says how far it is.
    if (own === undefined) return;
    this.#rules.want(network, own);
    const accepted = this.#leases.accept(own);
    if (accepted === undefined) {
      const why = this.#leases.problem();
      const message = "there was no complete snapshot of the leases with our own in it yet";
      problems.push({ condition: "snapshot", message: why === undefined ? message : `${message}: ${why}` });
      return;
    }
    const chosen = this.#planSettings.settings(external, (name) => kernel.driverOf(name));
    const { desired, delta } = this.#plan({
      settings: chosen,
      network,
      external,
      own,
      leases: accepted.snapshot.leases,
    });
    const prune = accepted.hasOwn && this.#pruneHold.mayPrune(own.createdAt);
    this.#record.begin();
    const report = await kernel.reconcile(desired, { prune }, delta);
    this.#record.add(causes, desired, prune, report);
    this.#totals.add(accepted.snapshot, report);
    if (this.#planned !== undefined) this.#options.onProgrammed(this.#planned);
    if (desired.devices.length === 0) return;
    const small = mtuProblem(familiesOf(network.ranges), external);
    if (small !== undefined) {
      // With such an MTU no pod could be attached; a file from before, which those that run have got, stays.
      problems.push({ condition: "interface", message: small });
      return;
    }
    try {
      const { flags } = this.#options;
      if (this.#subnetFile.ensure(network, own, desired, flags.ipMasq))
        log.info("wrote {path}", { path: flags.subnetFile });
    } catch (error) {
      problems.push({ condition: "subnetFile", message: describeError(error) });
    }
  }

  #openKernel(network: NetworkConfig): KernelReconciler {
    this.#kernel ??= new KernelReconciler(
      mapFamilies(network.ranges, (range) => range.network),
      {
        onDrift: (cause, isCertain) => {
          this.#record.noticed(cause, isCertain);
          this.#loop.mark(cause);
        },
        onInterfaces: () => this.#onInterfaces(),
      },
    );
    return this.#kernel;
  }

  #onInterfaces(): void {
    const kernel = this.#kernel;
    const actual = kernel?.known;
    const settings = this.#settings.current;
    if (kernel === undefined || actual === undefined || settings === undefined) return;
    const news = this.#external.newsIn(settings, kernel, actual);
    if (news !== undefined) this.#loop.mark(news);
  }

  /** The plan for these inputs; the last one if they are still the same. */
  #plan(input: PlanInput): Omit<Plan, "input"> {
    const before = this.#planned;
    if (before && inputKeys.every((key) => before.input[key] === input[key])) return { desired: before.desired };
    this.#planned = plan(input, before);
    return this.#planned;
  }

  async #announceReady(): Promise<void> {
    try {
      await this.#options.source.announceReady(this.#stopping.signal);
    } catch (error) {
      log.error("could not tell the cluster that this node is ready: {error}", { error: describeError(error) });
    }
  }
}
