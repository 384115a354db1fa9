//! GPT-2's alphabet: a character for every byte, so that tokens of any bytes are texts.
//!
//! Bytes that are a visible character of Latin-1 are that character; the others, in order, those from U+0100 on.

/// The character of each byte.
pub(super) const CHARACTERS: [char; 256] = {
    let mut characters = ['\0'; 256];
    let (mut byte, mut next) = (0, 0x100);
    while byte < 256 {
        characters[byte] = if is_visible(byte as u8) {
            byte as u8 as char
        } else {
            next += 1;
            match char::from_u32(next - 1) {
                Some(character) => character,
                None => panic!("all are below U+0144"),
            }
        };
        byte += 1;
    }
    characters
};

const fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The byte of a character.
pub(super) fn byte(character: char) -> Option<u8> {
    match u32::from(character) {
        number @ 0..0x100 => u8::try_from(number).ok().filter(|&byte| is_visible(byte)),
        number @ 0x100..0x144 => {
            // Those that are not visible: 0–32, 127–160, 173.
            let place = number as u8;
            Some(match place {
                0..=32 => place,
                33..=66 => place - 33 + 127,
                _ => 173,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_and_back() {
        for number in 0..=255_u8 {
            assert_eq!(byte(CHARACTERS[usize::from(number)]), Some(number));
        }
        let all: std::collections::BTreeSet<char> = CHARACTERS.into_iter().collect();
        assert_eq!(all.len(), 256);
        assert_eq!(CHARACTERS[usize::from(b' ')], 'Ġ');
        assert_eq!(CHARACTERS[usize::from(b'\n')], 'Ċ');
        let strangers =
            (0..=0x10_ffff).filter_map(char::from_u32).filter(|character| !all.contains(character));
        assert!(strangers.into_iter().all(|character| byte(character).is_none()));
    }
}
