import { sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import type { AgentFlags } from "../config/flags.ts";
import type { ExternalInterface } from "../config/interface.ts";
import { formatListenAddress } from "../config/listen-address.ts";
import type { NetworkConfig } from "../config/network.ts";
import { type Plan, type PlanInput, plan } from "../desired/plan.ts";
import { mtuWarning, vxlanDeviceName } from "../desired/vxlan.ts";
import { KernelReconciler } from "../kernel/reconciler.ts";
import { LeaseKeeper } from "../lease/keeper.ts";
import type { Lease, Snapshot } from "../lease/lease.ts";
import type { LeaseRequest, LeaseSource, SourceSettings } from "../lease/source.ts";
import { mapFamilies, type PerFamily } from "../net/family.ts";
import { type Mac, randomMac } from "../net/mac.ts";
import type { Facts, Finding } from "../status/facts.ts";
import { readiness } from "../status/readiness.ts";
import { readPreviousSubnet } from "../status/subnet-file.ts";
import { ExternalInterfaceKeeper } from "./external-interface.ts";
import { Loop, type TurnResult } from "./loop.ts";
import { PlanSettingsKeeper } from "./plan-settings.ts";
import { ReconcileRecord } from "./record.ts";
import { RejectionLog } from "./rejection-log.ts";
import { RulesKeeper } from "./rules-keeper.ts";
import { SubnetFileKeeper } from "./subnet-file-keeper.ts";

const log = logger("agent");

/**
 * After our lease was made anew (the store was wiped, or is new) nothing is pruned for this long: the other nodes' leases
 * may be on their way back, too.
 */
const PRUNE_HOLD_MS = 10_000;

/** How long a turn waits for the lease source's settings, in milliseconds. */
const SETTINGS_MS = 1000;
const LATE = Symbol("late");

const inputKeys = ["settings", "network", "external", "own", "leases"] as const;

export interface NodeOptions {
  readonly flags: AgentFlags;
  readonly source: LeaseSource;
  readonly name?: string;
  /** the lease is lost for good */
  onFatal(error: Error): void;
  /** each time that the node becomes ready */
  onReady(): void;
}

/**
 * This node's part of the pod network: holds the inputs (network configuration, external interface, own lease, snapshot)
 * and runs the cycle inputs → plan → kernel → subnet.env whenever one of them, or the kernel, changed.
 */
export class Node {
  readonly #options: NodeOptions;
  readonly #startedAt = Date.now();
  readonly #stopping = new AbortController();
  readonly #loop = new Loop((causes) => this.#turn(causes));
  readonly #external: ExternalInterfaceKeeper;
  readonly #subnetFile: SubnetFileKeeper;
  readonly #rules: RulesKeeper;
  readonly #previous: ReturnType<typeof readPreviousSubnet>;
  readonly #record = new ReconcileRecord();
  readonly #rejections = new RejectionLog();
  readonly #planSettings: PlanSettingsKeeper;
  readonly #timers: Timer[] = [];
  #pruneTimer: Timer | undefined;
  #toldMtu: string | undefined;
  readonly #randomMacs: PerFamily<Mac> = {};
  #settings: SourceSettings | undefined;
  /** resolves to why that failed */
  #reading: Promise<string | undefined> | undefined;
  #kernel: KernelReconciler | undefined;
  #keeper: LeaseKeeper | undefined;
  #watching: Promise<void> | undefined;
  /** the last snapshot, and the last one that has our own lease */
  #latest: Snapshot | undefined;
  #snapshot: Snapshot | undefined;
  #planned: Plan | undefined;
  #ready = false;
  #problems: Finding[] = [{ condition: "config", message: "starting" }];

  constructor(options: NodeOptions) {
    this.#options = options;
    this.#external = new ExternalInterfaceKeeper(options.flags);
    this.#planSettings = new PlanSettingsKeeper(options.flags);
    this.#subnetFile = new SubnetFileKeeper(options.flags.subnetFile, (cause) => this.#loop.mark(cause));
    this.#rules = new RulesKeeper({ flags: options.flags, onChange: (cause) => this.#loop.mark(cause) });
    this.#previous = readPreviousSubnet(options.flags.subnetFile);
    if (this.#previous.problem !== undefined) log.warn("{problem}", { problem: this.#previous.problem });
  }

  start(): void {
    const { resyncSeconds } = this.#options.flags;
    if (resyncSeconds > 0) {
      this.#timers.push(
        setInterval(() => {
          this.#kernel?.forget();
          this.#loop.mark("resync");
        }, resyncSeconds * 1000),
      );
    }
    this.#loop.mark("start");
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#pruneTimer);
    this.#subnetFile.stop();
    this.#keeper?.stop();
    await Promise.all([this.#loop.stop(), this.#rules.stop()]);
    await this.#watching;
    this.#kernel?.[Symbol.dispose]();
    this.#kernel = undefined;
  }

  facts(): Facts {
    const { flags, source, name } = this.#options;
    const own = this.#keeper?.own;
    const external = this.#external.current;
    const leaseProblem = own && this.#leaseProblem(own);
    return {
      version: VERSION,
      ...(name === undefined ? {} : { node: name }),
      now: Date.now(),
      startedAt: this.#startedAt,
      flags: {
        ...flags,
        debugAddresses: flags.debugAddresses.map(formatListenAddress),
        healthz: flags.healthz ? formatListenAddress(flags.healthz) : null,
      },
      ...(this.#settings === undefined ? {} : { network: this.#settings.network }),
      networkWarnings: [...(this.#settings?.warnings ?? []), ...this.#mtuWarnings()],
      ...(external === undefined ? {} : { external }),
      source: { kind: source.kind, location: source.location, contact: source.contact },
      ...(own === undefined ? {} : { own }),
      ...(leaseProblem === undefined ? {} : { leaseProblem }),
      ...(this.#snapshot === undefined ? {} : { snapshot: this.#snapshot }),
      rejections: this.#rejections.count,
      ...(this.#planned === undefined ? {} : { desired: this.#planned.desired }),
      problems: [...this.#problems, ...this.#presentProblems()],
      loop: this.#loop.facts(),
      kernel: {
        ...this.#record.facts(),
        fullReads: this.#kernel?.fullReads ?? 0,
        links: [...(this.#kernel?.known?.links.values() ?? [])],
      },
      rules: this.#rules.facts(),
    };
  }

  #mtuWarnings(): string[] {
    const external = this.#external.current;
    const backend = this.#settings?.network.backend;
    const warning = external && backend && mtuWarning(backend, external);
    return warning === undefined ? [] : [warning];
  }

  /** What can stop being true at any moment is looked at when it is asked for. */
  #presentProblems(): Finding[] {
    if (this.#stopping.signal.aborted) return [{ condition: "shutdown", message: "the agent is stopping" }];
    if (this.#keeper !== undefined && this.#keeper.own === undefined) {
      const error = this.#keeper.error ?? this.#options.source.contact.error;
      const why = error ? describeError(error) : "it is being acquired";
      return [{ condition: "lease", message: `this node has no lease yet: ${why}` }];
    }
    if (this.#planned === undefined || this.#kernel === undefined) {
      return this.#problems.length > 0 ? [] : [{ condition: "device", message: "nothing is programmed yet" }];
    }
    const findings: Finding[] = this.#kernel.deviceProblems().map((message) => ({ condition: "device", message }));
    const problem = this.#subnetFile.problem();
    if (problem !== undefined) findings.push({ condition: "subnetFile", message: problem });
    for (const message of this.#rules.problems()) findings.push({ condition: "rules", message });
    return findings;
  }

  /** Why a lease that we have does not count, or could not be published as it should be. */
  #leaseProblem(own: Lease): string | undefined {
    const error = this.#keeper?.error && describeError(this.#keeper.error);
    const reason = this.#latest?.rejected.find(({ key }) => key === own.key)?.reason;
    if (reason === undefined) return error;
    const more = error === undefined || error.includes(reason) ? "" : `; ${error}`;
    const meanwhile = this.#snapshot && "; until that is mended, this node keeps to the leases as they were before";
    return `this node's lease ${own.key} does not count as it is: ${reason}${more}${meanwhile ?? ""}`;
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
    this.#reportProblems(problems);
    const record = this.#record.facts();
    return {
      complete: problems.length === 0 && (this.#planned === undefined || record.settled),
      undone: record.driftsFound > driftsFound,
    };
  }

  /** Goes as far as the inputs allow; what is in the way of more ends up in `problems`. */
  async #cycle(causes: readonly string[], problems: Finding[]): Promise<void> {
    const settings = await this.#readSettings(problems);
    if (settings === undefined) return;
    const { network } = settings;
    const kernel = this.#openKernel(network);
    const actual = await kernel.actual();
    const external = this.#external.choose(settings, kernel, actual, problems);
    if (external === undefined) return;
    const request = this.#request(network, external, [...actual.links.values()]);
    for (const warning of this.#mtuWarnings()) {
      if (warning !== this.#toldMtu) log.warn("{warning}", { warning });
      this.#toldMtu = warning;
    }
    const keeper = this.#keepLease(network, request);
    const { own } = keeper;
    // The keeper goes on by itself and tells us; `facts` says how far it is.
    if (own === undefined) return;
    this.#rules.want(network, own);
    const snapshot = this.#acceptSnapshot(own);
    if (snapshot === undefined) {
      const why = this.#leaseProblem(own);
      const message = "there was no complete snapshot of the leases with our own in it yet";
      problems.push({ condition: "snapshot", message: why === undefined ? message : `${message}: ${why}` });
      return;
    }
    const chosen = this.#planSettings.settings(external, (name) => kernel.driverOf(name));
    const { desired, delta } = this.#plan({ settings: chosen, network, external, own, leases: snapshot.leases });
    const prune = this.#mayPrune(own.createdAt);
    this.#record.add(causes, desired, prune, await kernel.reconcile(desired, { prune }, delta));
    if (desired.devices.length === 0) return;
    try {
      const { flags } = this.#options;
      if (this.#subnetFile.ensure(network, own, desired, flags.ipMasq))
        log.info("wrote {path}", { path: flags.subnetFile });
    } catch (error) {
      problems.push({ condition: "subnetFile", message: describeError(error) });
    }
  }

  async #readSettings(problems: Finding[]): Promise<SourceSettings | undefined> {
    if (this.#settings !== undefined) return this.#settings;
    const { source } = this.#options;
    this.#reading ??= this.#askForSettings().finally(() => {
      this.#reading = undefined;
    });
    const reading = this.#reading;
    // A source that does not answer must not hold the loop, which lives all the same.
    const problem = await Promise.race<string | undefined | typeof LATE>([
      reading,
      sleep(SETTINGS_MS, this.#stopping.signal).then(() => LATE),
    ]);
    if (problem === LATE) {
      void reading.then(() => this.#loop.mark("configuration read"));
      const where = `${source.kind} ${source.location}`;
      problems.push({ condition: "config", message: `the configuration is awaited: ${where} has not answered yet` });
    } else if (problem !== undefined) problems.push({ condition: "config", message: problem });
    return this.#settings;
  }

  /** @returns why there are none, undefined if there are */
  async #askForSettings(): Promise<string | undefined> {
    try {
      this.#settings = await this.#options.source.settings(this.#stopping.signal);
      for (const warning of this.#settings.warnings) log.warn("{warning}", { warning });
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }

  #openKernel(network: NetworkConfig): KernelReconciler {
    this.#kernel ??= new KernelReconciler(
      mapFamilies(network.ranges, (range) => range.network),
      {
        onDrift: (cause) => this.#loop.mark(cause),
        onInterfaces: () => this.#onInterfaces(),
      },
    );
    return this.#kernel;
  }

  #onInterfaces(): void {
    const kernel = this.#kernel;
    const actual = kernel?.known;
    if (kernel === undefined || actual === undefined || this.#settings === undefined) return;
    const news = this.#external.newsIn(this.#settings, kernel, actual);
    if (news !== undefined) this.#loop.mark(news);
  }

  /** Asks for the MAC that the device has, so that a node without a lease keeps it; else for a random one. */
  #request(
    network: NetworkConfig,
    external: ExternalInterface,
    links: readonly { name: string; kind: string; mac: Mac | undefined }[],
  ): LeaseRequest {
    const { vni } = network.backend;
    const { name } = this.#options;
    const vteps = mapFamilies(network.ranges, (_, family) => {
      const device = links.find((link) => link.kind === "vxlan" && link.name === vxlanDeviceName(family, vni));
      this.#randomMacs[family] ??= device?.mac ?? randomMac();
      return { vni, mac: this.#keeper?.own?.vteps[family]?.mac ?? this.#randomMacs[family] };
    });
    return {
      ...(name === undefined ? {} : { node: name }),
      publicIPs: external.publicIPs,
      backendType: network.backend.type,
      vteps,
      previous: this.#previous.subnets,
    };
  }

  #keepLease(network: NetworkConfig, request: LeaseRequest): LeaseKeeper {
    if (this.#keeper !== undefined) {
      this.#keeper.update(request);
      return this.#keeper;
    }
    const { source, flags, onFatal } = this.#options;
    const keeper = new LeaseKeeper({
      source,
      network,
      renewMarginMinutes: flags.renewMarginMinutes,
      onChange: ({ key }) => {
        log.info("this node has the lease {key}", { key });
        this.#loop.mark("own lease");
      },
      onLost: (error) => log.warn("{error}", { error: describeError(error) }),
      onFatal,
    });
    this.#keeper = keeper;
    // First: taking a lease may make use of the list that a watch begins with.
    this.#watching = this.#watch(network, keeper);
    keeper.start(request);
    return keeper;
  }

  async #watch(network: NetworkConfig, keeper: LeaseKeeper): Promise<void> {
    for await (const snapshot of this.#options.source.watch(network, this.#stopping.signal)) {
      this.#latest = snapshot;
      this.#rejections.look(snapshot);
      keeper.observe(snapshot);
      this.#loop.mark("leases changed");
    }
  }

  /** Only a snapshot with our own lease counts: one without it speaks of another network, or of a store that was wiped. */
  #acceptSnapshot(own: Lease): Snapshot | undefined {
    if (this.#latest?.leases.some(({ key }) => key === own.key)) this.#snapshot = this.#latest;
    return this.#snapshot;
  }

  /** The plan for these inputs; the last one if they are still the same. */
  #plan(input: PlanInput): Omit<Plan, "input"> {
    const before = this.#planned;
    if (before && inputKeys.every((key) => before.input[key] === input[key])) return { desired: before.desired };
    this.#planned = plan(input, before);
    return this.#planned;
  }

  #mayPrune(leaseCreatedAt: number | undefined): boolean {
    if (leaseCreatedAt === undefined || leaseCreatedAt < this.#startedAt) return true;
    const left = leaseCreatedAt + PRUNE_HOLD_MS - Date.now();
    if (left <= 0) return true;
    clearTimeout(this.#pruneTimer);
    this.#pruneTimer = setTimeout(() => this.#loop.mark("leases settled"), left);
    return false;
  }

  async #announceReady(): Promise<void> {
    try {
      await this.#options.source.announceReady(this.#stopping.signal);
    } catch (error) {
      log.error("could not tell the cluster that this node is ready: {error}", { error: describeError(error) });
    }
  }

  /** Each problem is logged when it appears, and readiness when it comes and goes. */
  #reportProblems(problems: Finding[]): void {
    const had = new Set(this.#problems.map(({ message }) => message));
    for (const { condition, message } of problems) {
      if (!had.has(message)) log.warn("{condition}: {message}", { condition, message });
    }
    this.#problems = problems;
    const { ready, reasons } = readiness(this.facts());
    if (ready === this.#ready) return;
    this.#ready = ready;
    if (ready) {
      log.info("ready");
      this.#options.onReady();
      void this.#announceReady();
    } else log.warn("not ready any more: {reasons}", { reasons: reasons.map(({ message }) => message).join("; ") });
  }
}
