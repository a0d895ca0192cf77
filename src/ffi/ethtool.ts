import type { Pointer } from "bun:ffi";
import { closeSync } from "node:fs";
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from "./constants.ts";
import { KernelError } from "./errors.ts";
import { errno, libc, openSocket } from "./libc.ts";
import { lazyLibrary } from "./library.ts";

// asm-generic/sockios.h, linux/ethtool.h, linux/if.h
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GDRVINFO = 0x03;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const IFNAMSIZ = 16;

/** struct ethtool_drvinfo is the largest of the commands' arguments; its driver's name has 32 bytes behind the command. */
const ARGUMENT_BYTES = 196;
const DRIVER_BYTES = 32;

const control = lazyLibrary("libc.so.6", "libc6", { ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" } });

/** Settings of network drivers (ethtool(8)) in the network namespace in which it is made. */
export class Ethtool implements Disposable {
  readonly #fd = openSocket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  /** the command's argument, in native memory: the kernel gets its address inside of another structure */
  readonly #argument = Number(libc().malloc(ARGUMENT_BYTES)) as Pointer;

  /** The driver's name; undefined where there is no such device or it has no driver. */
  driver(device: string): string | undefined {
    const answer = this.#call(device, ETHTOOL_GDRVINFO, 0);
    if (typeof answer === "number") return undefined;
    const name = answer.subarray(4, 4 + DRIVER_BYTES);
    const end = name.indexOf(0);
    return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end)) || undefined;
  }

  /** Whether the device leaves checksums of what it sends to those below it; undefined where that can't be told. */
  txChecksum(device: string): boolean | undefined {
    const answer = this.#call(device, ETHTOOL_GTXCSUM, 0);
    return typeof answer === "number" ? undefined : new DataView(answer.buffer).getUint32(4, true) !== 0;
  }

  /** As `ethtool -K DEVICE tx on` or `off`. @throws KernelError */
  setTxChecksum(device: string, on: boolean): void {
    const answer = this.#call(device, ETHTOOL_STXCSUM, on ? 1 : 0);
    if (typeof answer === "number") throw new KernelError("set checksum offload of", device, answer);
  }

  /** @returns the argument as the kernel left it, or the errno */
  #call(device: string, command: number, value: number): Uint8Array<ArrayBuffer> | number {
    const argument = new Uint8Array(ARGUMENT_BYTES);
    new DataView(argument.buffer).setUint32(0, command, true);
    new DataView(argument.buffer).setUint32(4, value, true);
    libc().memcpy(this.#argument, argument, ARGUMENT_BYTES);
    // struct ifreq
    const request = new Uint8Array(40);
    request.set(new TextEncoder().encode(device).subarray(0, IFNAMSIZ - 1));
    new DataView(request.buffer).setBigUint64(IFNAMSIZ, BigInt(this.#argument), true);
    if (control().ioctl(this.#fd, SIOCETHTOOL, request) !== 0) return errno();
    libc().memcpy(argument, this.#argument, ARGUMENT_BYTES);
    return argument;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
    libc().free(this.#argument);
  }
}
