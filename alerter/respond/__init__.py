"""What people do about reviews: it is recorded, carried out at Wix once, and shown to them."""
