/** Foreign text on its way to the agent: lines stay lines, and none of them becomes a command. */

/** Characters of one line of the log; what is longer is cut, and says so. */
export const MAX_LINE = 8192;

const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Cs}/gu;

/**
 * No terminal escapes, no invisible characters, and no `##vso[` or `##[`, which the agent obeys anywhere in a line.
 * The same as `tame` in acr_cleanup/runtimes/base.py, which need not have seen what the container engine prints.
 */
export function tame(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(CONTROL, escaped).replace(/#(?=#)/g, "# ");
}

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** At most so many characters. */
export function cut(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}

/** A stream of text as tame lines, one at a time. A line without an end is not collected for ever. */
export class Lines {
  private line = "";
  private dropped = 0;
  private afterReturn = false;

  constructor(private readonly show: (line: string) => void) {}

  /** The next piece of the stream, wherever it was cut. */
  add(text: string): void {
    // A carriage return ends a line as well: progress bars, and whatever would overwrite what stands there.
    for (const [index, part] of text.split(/(\r\n|\n|\r)/).entries()) {
      if (index % 2 === 0) {
        if (part) {
          this.afterReturn = false;
          const room = Math.max(0, MAX_LINE - this.line.length);
          this.line += part.slice(0, room);
          this.dropped += Math.max(0, part.length - room);
        }
      } else if (this.afterReturn && part === "\n") {
        this.afterReturn = false;
      } else {
        this.flush(true);
        this.afterReturn = part === "\r";
      }
    }
  }

  /** The stream has ended. */
  end(): void {
    this.flush(false);
  }

  private flush(ended: boolean): void {
    if (ended || this.line) {
      const more = this.dropped ? `… (${this.dropped} more characters)` : "";
      this.show(tame(this.line) + more);
    }
    this.line = "";
    this.dropped = 0;
  }
}
