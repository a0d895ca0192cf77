import { logger } from "../base/log.ts";
import type { Desired } from "../desired/desired.ts";
import type { Mac } from "../net/mac.ts";
import type { Operation } from "./operations.ts";

const log = logger("kernel");

/** Notices when somebody else gives one of our devices another MAC, and says once for each device who that usually is. */
export class MacChanges {
  /** the MACs that our devices had from us, by name */
  readonly #given = new Map<string, Mac>();
  readonly #told = new Set<string>();

  /** @param operations what is about to be done to reach what is desired */
  look({ devices }: Desired, operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.kind === "link-add") this.#given.set(operation.device.name, operation.device.mac);
      if (operation.kind !== "link-change" || operation.changes.mac === undefined) continue;
      const { name } = operation;
      if (this.#given.get(name) === operation.changes.mac) this.#tell(name, operation.why);
    }
    for (const { name, mac } of devices) this.#given.set(name, mac);
  }

  #tell(name: string, why: string): void {
    if (this.#told.has(name)) return;
    this.#told.add(name);
    log.warn(
      "somebody changed the MAC of {name}, which other nodes send to ({why}); it is set back. If that is systemd-udevd, give " +
        "the device MACAddressPolicy=none in a .link file; if it is NetworkManager, list it in unmanaged-devices",
      { name, why },
    );
  }
}
