import { sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { LINUX_VXLAN_PORT } from "../config/network.ts";
import type { Plan } from "../desired/plan.ts";
import { OVERHEAD } from "../desired/vxlan.ts";
import { KernelError } from "../ffi/errors.ts";
import { mapFamilies, type PerFamily } from "../net/family.ts";
import { EchoCarrier } from "../probe/echo-carrier.ts";
import { type OwnEnd, ProbeEngine, type ProbeInput } from "../probe/engine.ts";
import { type News, newsOf } from "../probe/news.ts";
import type { ProbesFacts } from "../status/facts.ts";

const log = logger("probe");

/** The first round begins this long after there are peers: those that come up together get to know each other first. */
const FIRST_MS = 1_000;
/** Rounds are up to this share of the interval earlier or later, so that the nodes do not probe at the same moments. */
const JITTER = 0.05;

export interface ProberOptions {
  /** between the beginnings of two rounds */
  readonly seconds: number;
  /** peers became reachable or stopped being so; it is in the log already */
  onNews(news: News): void;
}

/**
 * Probes the peers that are programmed, round after round, from its first knowledge of them until it is stopped: the lease
 * source may be away meanwhile. What it finds changes nothing but what is told.
 */
export class Prober {
  readonly #options: ProberOptions;
  readonly #carrier = new EchoCarrier();
  readonly #engine = new ProbeEngine(this.#carrier);
  readonly #stopping = new AbortController();
  #plan: Plan | undefined;
  #input: ProbeInput | undefined;
  #running = false;
  #inRound = false;
  /** why nothing can be probed at all, and why some probes do not leave this node */
  #problem: string | undefined;
  #refused: string | undefined;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** These peers are programmed now. It costs nothing: the next round looks at them. */
  want(plan: Plan): void {
    if (this.#plan?.desired === plan.desired) return;
    this.#plan = plan;
    this.#input = undefined;
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  facts(): ProbesFacts {
    return {
      intervalMs: this.#options.seconds * 1000,
      ...this.#problemFacts(),
      verdict: (key, family) => this.#engine.verdict(key, family),
      of: (key, family) => this.#engine.facts(key, family),
      everywhere: (family) => this.#engine.everywhere(family),
      totals: () => this.#engine.totals(),
      troubled: (most) => {
        // Who has left is not to be warned of until the next round. This is asked in each turn of the loop: where nobody is in
        // trouble, thousands of peers need not be gone through for it.
        if (this.#engine.isTroubled) this.#takeOver();
        return { of: this.#engine.size, ...this.#engine.troubled(most) };
      },
    };
  }

  /** At once; what is under way is forgotten. */
  stop(): void {
    this.#stopping.abort();
    this.#carrier[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const interval = this.#options.seconds * 1000;
    // It takes the kernel a moment until it notes when packets come in.
    this.#prepare();
    await sleep(Math.min(interval, FIRST_MS) * (0.5 + Math.random() / 2), signal);
    while (!signal.aborted) {
      const started = performance.now();
      try {
        await this.#round(signal);
      } catch (error) {
        log.error("a round of probes failed, the next one comes all the same: {error}", {
          error: describeError(error),
        });
      }
      const next = interval * (1 + JITTER * (2 * Math.random() - 1));
      await sleep(Math.max(0, started + next - performance.now()), signal);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    this.#prepare();
    this.#inRound = true;
    const changes = await this.#engine.round(signal).finally(() => {
      this.#inRound = false;
    });
    if (signal.aborted) return;
    const refusal = this.#carrier.takeRefusal();
    this.#tellRefusal(this.#engine.wasRefused ? refusal : undefined);
    for (const news of newsOf(changes)) {
      if (news.level === "info") log.info("{message}", { message: news.message });
      else log.warn("{message}", { message: news.message });
      this.#options.onNews(news);
    }
  }

  #problemFacts(): { problem?: string } {
    const problem = this.#problem ?? this.#refused;
    return problem === undefined ? {} : { problem };
  }

  /** Takes over what was wanted last, unless a round is under way. */
  #takeOver(): void {
    if (this.#plan === undefined || this.#inRound) return;
    this.#input ??= inputOf(this.#plan);
    this.#engine.setPeers(this.#input);
  }

  /** Takes over what was wanted last, and sees to the sockets. Not during a round. */
  #prepare(): void {
    this.#takeOver();
    if (this.#input === undefined) return;
    const sources = mapFamilies(this.#input.own, ({ vtep, local }) => ({ overlay: vtep, underlay: local }));
    this.#tellErrors(this.#carrier.use(sources));
  }

  #tellRefusal(refusal: KernelError | undefined): void {
    const refused =
      refusal &&
      `probes do not leave this node: ${describeError(refusal)}; a rule of its packet filter drops them (nft list ruleset, iptables-save), or its conntrack table is full: let ICMP echo requests out, or --probe-interval=0`;
    if (refused !== undefined && this.#refused === undefined) log.warn("{refused}", { refused });
    if (refused === undefined && this.#refused !== undefined) log.info("probes leave this node again");
    this.#refused = refused;
  }

  /** An address that is away is told elsewhere, and comes back. */
  #tellErrors(errors: readonly Error[]): void {
    for (const error of errors) log.debug("can't probe for now: {error}", { error: describeError(error) });
    const refusal = errors.find(
      (error) => error instanceof KernelError && ["EPERM", "EACCES"].includes(error.errnoName),
    );
    if (refusal === undefined) {
      this.#problem = undefined;
      return;
    }
    const problem = `the peers are not probed: ${describeError(refusal)}; give the agent CAP_NET_RAW, or --probe-interval=0`;
    if (problem !== this.#problem) log.warn("{problem}", { problem });
    this.#problem = problem;
  }
}

function inputOf({ input, desired }: Plan): ProbeInput {
  const devices = new Map(desired.devices.map((device) => [device.family, device]));
  const own: PerFamily<OwnEnd> = {};
  for (const { family, name, port = LINUX_VXLAN_PORT, mtu, address, local } of devices.values()) {
    own[family] = { device: name, port, mtu, overhead: OVERHEAD[family], vtep: address, local };
  }
  return {
    peers: input.leases.filter(({ key }) => key !== input.own.key),
    own,
    isProgrammed: ({ subnets, publicIPs }, family) => {
      const vtep = subnets[family]?.address;
      return (
        vtep !== undefined && publicIPs[family] !== undefined && devices.get(family)?.neighbours.has(vtep) === true
      );
    },
  };
}
