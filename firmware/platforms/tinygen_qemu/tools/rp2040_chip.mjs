// An RP2040 in rp2040js (github.com/wokwi/rp2040js), with firmware in its flash, about to execute the first instruction.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const FLASH = 0x10000000;
export const RAM = 0x20000000;

const PT_LOAD = 1;
const HARD_FAULT = 3; // the exception's number

/** The package in `folder`, or where Node.js finds it: in node_modules of the folders above this file, in NODE_PATH. */
function emulator(folder) {
  try {
    return createRequire(import.meta.url)(folder || 'rp2040js');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(folder ? `${folder} is not the package rp2040js`
      : 'rp2040js is not installed. Run `npm install rp2040js` in a folder above the project, or anywhere, and set ' +
        'TINYGEN_RP2040JS to its node_modules/rp2040js.');
  }
}

/** A chip with the ELF file `path`, started from the vector table at the beginning of its flash. */
export function load(path, folder) {
  const { RP2040 } = emulator(folder);
  const chip = new RP2040();
  const file = readFileSync(path);
  const headers = file.readUInt32LE(28);
  for (let index = 0; index < file.readUInt16LE(44); index++) {
    const at = headers + 32 * index;
    const [offset, address, size] = [4, 12, 16].map((field) => file.readUInt32LE(at + field));
    if (file.readUInt32LE(at) === PT_LOAD && size) {
      const memory = address >= RAM ? chip.sram.subarray(address - RAM) : chip.flash.subarray(address - FLASH);
      memory.set(file.subarray(offset, offset + size));
    }
  }
  chip.core.VTOR = FLASH;
  chip.core.reset();
  return chip;
}

class Fault extends Error {}

/**
 * What executes one instruction as a Cortex-M0+ does: where rp2040js goes on with a warning, or reads and writes halves
 * of words that are not aligned, there is a HardFault. It throws where the processor would lock up.
 */
export function stepper(chip) {
  const { core } = chip;
  const fail = (reason) => { throw new Fault(reason); };
  const refuse = (component, message) => fail(message);
  chip.logger = { debug() {}, info() {}, warn: refuse, error: refuse };
  chip.onBreak = () => fail('UDF or BKPT');
  for (const [name, mask] of [['readUint16', 1], ['readUint32', 3], ['writeUint16', 1], ['writeUint32', 3]]) {
    const access = chip[name].bind(chip);
    chip[name] = (address, value) => (address & mask ? fail('an address that is not aligned') : access(address, value));
  }
  // rp2040js takes masked interrupts after WFI, of which they are the end and no more.
  const take = core.checkForInterrupts.bind(core);
  core.checkForInterrupts = () => (core.PM ? (core.interruptsUpdated = false) : take());
  return () => {
    const at = core.PC;
    try {
      return core.executeInstruction();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (core.IPSR === HARD_FAULT) throw new Error(`the processor locked up at 0x${at.toString(16)}: ${error.message}`);
      core.PC = at;
      core.exceptionEntry(HARD_FAULT);
      return 1;
    }
  };
}
