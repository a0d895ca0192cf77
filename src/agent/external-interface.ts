import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { chooseExternalInterface } from "../config/choose-interface.ts";
import type { AgentFlags } from "../config/flags.ts";
import type { ExternalInterface, HostInventory } from "../config/interface.ts";
import type { Actual } from "../kernel/mirror.ts";
import { inventoryOf } from "../kernel/read.ts";
import type { KernelReconciler } from "../kernel/reconciler.ts";
import type { SourceSettings } from "../lease/source.ts";
import { familiesOf } from "../net/family.ts";
import type { EventLog } from "../status/event-log.ts";
import type { Finding } from "../status/facts.ts";

const log = logger("agent");

/** Follows the interface that carries the traffic between nodes, as the flags and the lease source want it chosen. */
export class ExternalInterfaceKeeper {
  readonly #flags: AgentFlags;
  readonly #events: EventLog;
  #current: ExternalInterface | undefined;

  constructor(flags: AgentFlags, events: EventLog) {
    this.#flags = flags;
    this.#events = events;
  }

  /** The last suitable one: without any it stays in use, so that what is programmed is not torn down. */
  get current(): ExternalInterface | undefined {
    return this.#current;
  }

  /** Chooses anew. What is in the way ends up in `problems`. @returns the current one */
  choose(
    settings: SourceSettings,
    kernel: KernelReconciler,
    actual: Actual,
    problems: Finding[],
  ): ExternalInterface | undefined {
    const found = this.#find(settings, this.#inventory(kernel, actual));
    if (found instanceof Error) problems.push({ condition: "interface", message: describeError(found) });
    else if (!Bun.deepEquals(found, this.#current)) {
      const { name, mtu, addresses, publicIPs } = found;
      const is = Object.values(addresses).join(" ");
      const message = `external interface ${name}, MTU ${mtu}, address ${is}, published as ${Object.values(publicIPs).join(" ")}`;
      log.info("{message}", { message });
      const before = this.#current && { cause: `it was ${this.#current.name}, MTU ${this.#current.mtu}` };
      this.#events.add({ kind: "interfaceChanged", message, ...before });
      this.#current = found;
    }
    return this.#current;
  }

  /** Pods come and go with an interface each. @returns what makes it worth to choose anew, undefined if nothing does */
  newsIn(settings: SourceSettings, kernel: KernelReconciler, actual: Actual): string | undefined {
    if (this.#current !== undefined && kernel.isUncertain(this.#current.index))
      return "addresses of the external interface changed";
    const found = this.#find(settings, this.#inventory(kernel, actual));
    const isOther = found instanceof Error ? this.#current !== undefined : !Bun.deepEquals(found, this.#current);
    return isOther ? "external interface changed" : undefined;
  }

  #inventory(kernel: KernelReconciler, actual: Actual): HostInventory {
    const { canReach } = this.#flags;
    return {
      ...inventoryOf(actual),
      ...(canReach === undefined ? {} : { towards: kernel.towards(canReach) }),
    };
  }

  #find(settings: SourceSettings, inventory: HostInventory): ExternalInterface | Error {
    const { iface, ifaceRegex, canReach, publicIPs: given } = this.#flags;
    const wanted = {
      iface,
      ifaceRegex,
      ...(canReach === undefined ? {} : { canReach }),
      publicIPs: { ...given, ...settings.publicIPs },
    };
    try {
      return chooseExternalInterface(inventory, wanted, familiesOf(settings.network.ranges));
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }
}
