//! The one cipher: XChaCha20-Poly1305, in place, with the tag apart.
//!
//! This is the only place that the feature `unsealed` changes the meaning of: there, bytes stay as
//! they are and the tag is a keyed hash, so that every check still holds.

/// Bytes of the tag.
pub(crate) const TAG_BYTES: usize = 16;

/// The bytes are not what was sealed under this key, nonce and associated data.
#[derive(Debug)]
pub(crate) struct Tampered;

#[cfg(not(feature = "unsealed"))]
mod imp {
    use super::{TAG_BYTES, Tampered};
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
    use rhizome_block::planted::{Bug, planted};

    pub(crate) fn seal(
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        bytes: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        if planted(Bug::PlainText) {
            return [0; TAG_BYTES];
        }
        XChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(nonce.into(), aad, bytes.into())
            .expect("the cipher takes 256 GiB, and nobody seals that much at once")
            .into()
    }

    pub(crate) fn open(
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Tampered> {
        if planted(Bug::PlainText) {
            return Ok(());
        }
        XChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(nonce.into(), aad, bytes.into(), tag.into())
            .map_err(|_| Tampered)
    }
}

#[cfg(feature = "unsealed")]
mod imp {
    use super::{TAG_BYTES, Tampered};

    pub(crate) fn seal(
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        bytes: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(nonce).update(&(aad.len() as u64).to_le_bytes()).update(aad).update(bytes);
        *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
    }

    pub(crate) fn open(
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Tampered> {
        if seal(key, nonce, aad, bytes) == *tag { Ok(()) } else { Err(Tampered) }
    }
}

pub(crate) use imp::{open, seal};

#[cfg(all(test, not(feature = "unsealed")))]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_the_one_of_its_draft() {
        // draft-irtf-cfrg-xchacha-03, appendix A.3.1.
        let mut bytes = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
            tip for the future, sunscreen would be it."
            .to_vec();
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let tag = seal(&key, &nonce, &aad, &mut bytes);
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(hex(&bytes[..16]), "bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(hex(&tag), "c0875924c1c7987947deafd8780acf49");
    }
}
