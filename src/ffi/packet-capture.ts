import { closeSync } from "node:fs";
import { constants } from "node:os";
import { AF_PACKET, ETH_P_ALL, MSG_DONTWAIT, SO_RCVBUFFORCE, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET } from "./constants.ts";
import { KernelError } from "./errors.ts";
import { errno, inNetworkNamespace, openSocket, receive, setSocketOption } from "./libc.ts";
import { lazyLibrary } from "./library.ts";

// linux/socket.h, linux/if_packet.h
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;

// asm-generic/sockios.h
const SIOCGSTAMP = 0x8906;

const stamps = lazyLibrary("libc.so.6", "libc6", { ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" } });

/** Holds some thousand small frames until they are read. */
const RECEIVE_BUFFER = 8 * 1024 * 1024;
/** The largest frame that a virtual device hands over whole. */
const FRAME_BYTES = 64 * 1024 + 256;

/** The frames that come in on any interface of one network namespace (packet(7)). */
export class PacketCapture implements Disposable {
  readonly #fd: number;
  readonly #frame = new Uint8Array(FRAME_BYTES);
  #open = true;

  /**
   * Frames are kept from now on.
   * @param namespace path of a network namespace, such as /run/netns/NAME
   * @throws KernelError
   */
  constructor(namespace: string) {
    const networkOrder = ((ETH_P_ALL & 0xff) << 8) | (ETH_P_ALL >> 8);
    this.#fd = inNetworkNamespace(namespace, () => openSocket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, networkOrder));
    setSocketOption(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    // The first request is refused, for there is no frame yet, and turns the time stamps on.
    stamps().ioctl(this.#fd, SIOCGSTAMP, new BigInt64Array(2));
    // A kernel older than 4.20 refuses, and then a forwarded frame is seen a second time, where it leaves.
    setSocketOption(this.#fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
  }

  /**
   * The Ethernet frames that have come in since the last call; does not wait for more.
   * @returns views of one buffer: each holds only until the next is asked for
   */
  *frames(): Generator<Uint8Array> {
    while (this.#open) {
      const length = receive(this.#fd, this.#frame, MSG_DONTWAIT);
      if (length >= 0) {
        yield this.#frame.subarray(0, length);
      } else if (-length === constants.errno.EAGAIN) {
        return;
      } else if (-length !== constants.errno.EINTR && -length !== constants.errno.ENETDOWN) {
        throw new KernelError("receive from", "the packet socket", -length);
      }
    }
  }

  /**
   * When the frame last handed out came in, by the kernel's clock.
   * @returns milliseconds since the epoch, to the microsecond
   */
  timeOfLast(): number {
    // struct timeval
    const time = new BigInt64Array(2);
    if (stamps().ioctl(this.#fd, SIOCGSTAMP, time) !== 0) throw new KernelError("get time of", "a frame", errno());
    return Number(time[0]) * 1000 + Number(time[1]) / 1000;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }
}
