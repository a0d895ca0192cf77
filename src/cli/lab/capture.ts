import { PacketCapture } from "../../ffi/packet-capture.ts";
import { namespacePath } from "./command.ts";

const POLL_MS = 10;

/** Frames are handed over until it is disposed of. */
interface FrameWatch extends Disposable {
  /** Hands over at once what has come in by now. */
  look(): void;
}

/**
 * Watches the frames that come in on any interface of some named network namespaces.
 * @param observe the frame holds only during the call; `time` tells when it came in, in milliseconds since the epoch
 * @throws KernelError
 */
export function watchFrames(
  namespaces: readonly string[],
  observe: (frame: Uint8Array, time: () => number) => void,
): FrameWatch {
  using starting = new DisposableStack();
  const captures = namespaces.map((namespace) => starting.use(new PacketCapture(namespacePath(namespace))));
  const look = () => {
    for (const capture of captures) {
      for (const frame of capture.frames()) observe(frame, () => capture.timeOfLast());
    }
  };
  const timer = setInterval(look, POLL_MS);
  starting.defer(() => clearInterval(timer));
  const open = starting.move();
  return { look, [Symbol.dispose]: () => open.dispose() };
}
