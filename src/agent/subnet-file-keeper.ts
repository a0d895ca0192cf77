import type { NetworkConfig } from "../config/network.ts";
import { renderSubnetFile } from "../config/subnet-env.ts";
import type { Desired } from "../desired/desired.ts";
import type { Lease } from "../lease/lease.ts";
import { mapFamilies } from "../net/family.ts";
import { subnetFileProblem, writeSubnetFile } from "../status/subnet-file.ts";

/** How often the file is looked at, so that one that somebody removed is back within a second, on a busy node as well. */
const CHECK_MS = 500;

/** Keeps subnet.env as it should be. */
export class SubnetFileKeeper {
  readonly #path: string;
  readonly #timer: Timer;
  #wanted: string | undefined;

  constructor(path: string, onChange: (cause: string) => void) {
    this.#path = path;
    this.#timer = setInterval(() => {
      const problem = this.#wanted === undefined ? undefined : this.problem();
      if (problem !== undefined) onChange(problem);
    }, CHECK_MS);
  }

  /** What is wrong with the file right now. */
  problem(): string | undefined {
    return this.#wanted === undefined
      ? `${this.#path} is not written yet`
      : subnetFileProblem(this.#path, this.#wanted);
  }

  /** Writes the file if it is not as it should be. @returns whether it wrote. @throws Error with its cause */
  ensure(network: NetworkConfig, own: Lease, desired: Desired, ipMasq: boolean): boolean {
    this.#wanted = renderSubnetFile({
      networks: mapFamilies(network.ranges, (range) => range.network),
      subnets: own.subnets,
      mtu: Math.min(...desired.devices.map((device) => device.mtu)),
      ipMasq,
      devices: desired.devices.map((device) => device.name),
    });
    if (this.problem() === undefined) return false;
    writeSubnetFile(this.#path, this.#wanted);
    return true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
