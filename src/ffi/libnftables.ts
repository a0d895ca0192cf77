import type { Pointer } from "bun:ffi";
import { lazyLibrary } from "./library.ts";

const library = lazyLibrary("libnftables.so.1", "libnftables1", {
  nft_ctx_new: { args: ["u32"], returns: "ptr" },
  nft_ctx_free: { args: ["ptr"], returns: "void" },
  nft_ctx_buffer_output: { args: ["ptr"], returns: "i32" },
  nft_ctx_buffer_error: { args: ["ptr"], returns: "i32" },
  nft_ctx_get_output_buffer: { args: ["ptr"], returns: "cstring" },
  nft_ctx_get_error_buffer: { args: ["ptr"], returns: "cstring" },
  nft_ctx_output_set_flags: { args: ["ptr", "u32"], returns: "void" },
  nft_ctx_set_dry_run: { args: ["ptr", "bool"], returns: "void" },
  nft_run_cmd_from_buffer: { args: ["ptr", "ptr"], returns: "i32" },
});

// nftables/libnftables.h
const NFT_CTX_OUTPUT_JSON = 1 << 4;

/** What libnftables refused: its own words. */
class NftablesError extends Error {
  override readonly name = "NftablesError";
}

/** nft(8) in this process, for the network namespace that the thread is in when it is made. */
export class Nftables implements Disposable {
  readonly #context: Pointer;
  #open = true;

  /** @throws Error if the library can't be loaded, or the kernel has no nf_tables */
  constructor() {
    const context = library().nft_ctx_new(0);
    if (context === null) throw new NftablesError("libnftables could not open its socket");
    this.#context = Number(context) as Pointer;
    library().nft_ctx_buffer_output(this.#context);
    library().nft_ctx_buffer_error(this.#context);
    library().nft_ctx_output_set_flags(this.#context, NFT_CTX_OUTPUT_JSON);
  }

  /**
   * Runs commands as nft reads them; those that change something are one transaction.
   * @returns what they print, as JSON text; empty if nothing
   * @throws NftablesError
   */
  run(commands: string): string {
    const failed = library().nft_run_cmd_from_buffer(this.#context, new TextEncoder().encode(`${commands}\0`)) !== 0;
    // Reading a buffer empties it for the next command.
    const output = String(library().nft_ctx_get_output_buffer(this.#context));
    const error = String(library().nft_ctx_get_error_buffer(this.#context));
    if (failed) throw new NftablesError(oneLine(error) || "nftables refused it");
    return output;
  }

  /** Whether the library and the kernel would take the commands. Nothing is changed. */
  accepts(commands: string): boolean {
    library().nft_ctx_set_dry_run(this.#context, true);
    try {
      this.run(commands);
      return true;
    } catch (error) {
      if (error instanceof NftablesError) return false;
      throw error;
    } finally {
      library().nft_ctx_set_dry_run(this.#context, false);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    library().nft_ctx_free(this.#context);
  }
}

/** Without the lines of carets that show a place in the line before. */
function oneLine(text: string): string {
  const lines = text.split("\n").filter((line) => !/^[\s^~]*$/.test(line));
  return lines.map((line) => line.trim()).join("; ");
}
